"""Telling a task's webhook how a run ended: signed as Standard Webhooks has it, and again until it is taken."""

import asyncio
import base64
import contextvars
import datetime
import hashlib
import hmac
import logging
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
from django.conf import settings

from agents_app import clock
from agents_app.database.threads import DatabaseThreads, write_transaction
from agents_app.engine.web.guarded_client import AddressRefused, guarded_client
from agents_app.models import Delivery, Run
from agents_app.models.tasks import SECRET_PREFIX
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

TIMEOUT = 15.0  # seconds of one attempt
AT_ONCE = 10
# Seconds between attempts; after the last it is given up.
DELAYS = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000)
_LEASE = datetime.timedelta(seconds=60)  # by then an attempt has ended, or its process has
_GONE = 410


@dataclass(frozen=True, slots=True)
class Message:
    """What is posted: the same body and id in each attempt, with the time of this one."""

    delivery: Delivery
    url: str
    body: bytes
    headers: dict[str, str]


class Sender:
    """Sends what waits, a few at a time, in a task of its own."""

    def __init__(self) -> None:
        self._database = DatabaseThreads("webhooks", 1)
        self._sending: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send, if nobody does."""
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all(), context=contextvars.Context())

    def stop(self) -> None:
        """Stop; what was under way is tried again later."""
        if self._sending is not None:
            self._sending.cancel()

    async def _send_all(self) -> None:
        try:
            while taken := await self._database.run(take, AT_ONCE):
                await asyncio.gather(*(self._send(message) for message in taken))
        except Exception:
            logger.exception("Could not send webhooks; trying again")

    async def _send(self, message: Message) -> None:
        try:
            error, is_final = await post(message)
        except Exception:
            logger.exception("Could not send webhook %s; trying again", message.delivery.pk)
            error, is_final = "The server failed to send it (internal error).", False
        await self._database.run(finish, message.delivery, error, is_final)


def _message(delivery: Delivery) -> Message:
    body = orjson.dumps(payload(delivery.run))
    signature = signed(f"msg_{delivery.pk.hex}", clock.now(), body, delivery.task.webhook_secret)
    headers = {"Content-Type": "application/json", "User-Agent": f"AInTandem/{settings.VERSION}", **signature}
    return Message(delivery, delivery.task.webhook_url, body, headers)


def payload(run: Run) -> dict[str, Any]:
    """What a webhook is told of a run."""
    return {
        "type": f"run.{run.status}",
        "timestamp": run.finished_at,
        "data": {
            "task_id": run.task_id,
            "task_name": run.task.name if run.task else None,
            "run_id": run.pk,
            "session_id": run.session_id,
            "agent_name": run.agent_name,
            "scheduled_for": run.scheduled_for,
            "retry": run.retry,
            "status": run.status,
            "result": run.result or None,
            "error": run.error or None,
            "usage": run.usage,
            "created_at": run.created_at,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
        },
    }


def signed(message_id: str, at: datetime.datetime, body: bytes, secret: str) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    timestamp = str(int(at.timestamp()))
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


async def post(message: Message) -> tuple[str, bool]:
    """Send it. Returns what is wrong, or nothing; and whether to try again would be of no use."""
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            guarded_client(allow_private=settings.FETCH_ALLOW_PRIVATE, timeout=TIMEOUT) as client,
            client.stream("POST", message.url, content=message.body, headers=message.headers) as answer,
        ):
            if answer.is_success:
                return "", True
            return f"It answered with status {answer.status_code}.", answer.status_code == _GONE
    except AddressRefused as error:
        return str(error), True
    except TimeoutError:
        return f"It did not answer within {TIMEOUT:g} seconds.", False
    except httpx2.HTTPError as error:
        return f"It could not be reached: {type(error).__name__}.", False


def take(limit: int) -> list[Message]:
    """Claim messages whose time has come, so that no other process sends them now."""
    now = clock.now()
    due = Delivery.objects.filter(status=Delivery.Status.PENDING, next_attempt_at__lte=now)
    taken = []
    with write_transaction():
        for delivery in due.select_related("task", "run__task").order_by("next_attempt_at")[:limit]:
            ours = Delivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts, status=Delivery.Status.PENDING)
            delivery.attempts += 1
            if ours.update(attempts=delivery.attempts, next_attempt_at=now + _LEASE):
                taken.append(delivery)
    return [_message(delivery) for delivery in taken if _has_target(delivery)]


def _has_target(delivery: Delivery) -> bool:
    """A webhook may have been taken away since."""
    if delivery.task.webhook_url and delivery.task.webhook_secret:
        return True
    finish(delivery, "The task has no webhook any more.", True)
    return False


def finish(delivery: Delivery, error: str, is_final: bool) -> None:
    """Write down what came of an attempt, and when the next is."""
    ours = Delivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts)
    now = clock.now()
    with write_transaction():
        outcome = "retried"
        if not error:
            outcome = "delivered"
            ours.update(status=Delivery.Status.DELIVERED, error="", delivered_at=now)
        elif is_final or delivery.attempts > len(DELAYS):
            outcome = "failed"
            ours.update(status=Delivery.Status.FAILED, error=error)
        else:
            wait = datetime.timedelta(seconds=DELAYS[delivery.attempts - 1])
            ours.update(error=error, next_attempt_at=now + wait)
    metrics.WEBHOOKS.labels(outcome).inc()

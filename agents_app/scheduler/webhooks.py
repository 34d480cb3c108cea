"""Deliver webhooks when a task's run has ended: signed per Standard Webhooks, and retried until accepted."""

import asyncio
import datetime
import logging
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
from django.conf import settings
from standardwebhooks import Webhook

from agents_app import clock
from agents_app.background import spawn
from agents_app.database.threads import DatabaseThreads, write_transaction
from agents_app.engine.web.guarded_client import AddressRefused, guarded_client
from agents_app.models import Delivery, Run
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

TIMEOUT = 15.0  # seconds of one attempt
AT_ONCE = 10
# Seconds between attempts; after the last one the delivery has failed.
DELAYS = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000)
_LEASE = datetime.timedelta(seconds=60)  # after this, the attempt has ended, or its process has died
_GONE = 410


@dataclass(frozen=True, slots=True)
class Message:
    """One attempt: the same id and body as in every other, with the time and signature of this one."""

    delivery: Delivery
    url: str
    body: bytes
    headers: dict[str, str]


class Sender:
    """Sends pending messages, a few at a time, in a background task."""

    def __init__(self) -> None:
        self._database = DatabaseThreads("webhooks", 1)
        self._sending: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start sending, unless already started."""
        if self._sending is None or self._sending.done():
            self._sending = spawn(self._send_all(), name="webhooks")

    def stop(self) -> None:
        """Stop. An interrupted attempt is repeated later."""
        if self._sending is not None:
            self._sending.cancel()

    async def _send_all(self) -> None:
        try:
            while messages := await self._database.run(claim, AT_ONCE):
                await asyncio.gather(*(self._send(message) for message in messages))
        except Exception:
            logger.exception("Could not send webhooks; trying again")

    async def _send(self, message: Message) -> None:
        try:
            error, is_final = await post(message)
        except Exception:
            logger.exception("Could not send webhook %s; trying again", message.delivery.pk)
            error, is_final = "Internal error of the server.", False
        await self._database.run(finish, message.delivery, error, is_final)


def _message(delivery: Delivery) -> Message:
    body = orjson.dumps(payload(delivery.run))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"AInTandem/{settings.VERSION}",
        **signature_headers(f"msg_{delivery.pk.hex}", clock.now(), body, delivery.task.webhook_secret),
    }
    return Message(delivery, delivery.task.webhook_url, body, headers)


def payload(run: Run) -> dict[str, Any]:
    """Return the body of the message about a run."""
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


def signature_headers(message_id: str, at: datetime.datetime, body: bytes, secret: str) -> dict[str, str]:
    """Return the headers of Standard Webhooks. `at` must be in UTC: the library ignores the zone."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }


async def post(message: Message) -> tuple[str, bool]:
    """Send one attempt. Returns an error, empty on success, and whether the result is final."""
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            guarded_client(allow_private=settings.FETCH_ALLOW_PRIVATE, timeout=TIMEOUT) as client,
            client.stream("POST", message.url, content=message.body, headers=message.headers) as response,
        ):
            if response.is_success:
                return "", True
            return f"Status {response.status_code}.", response.status_code == _GONE
    except AddressRefused as error:
        return str(error), True
    except TimeoutError:
        return f"No response within {TIMEOUT:g} seconds.", False
    except httpx2.HTTPError as error:
        return f"Not reachable: {type(error).__name__}.", False


def claim(limit: int) -> list[Message]:
    """Claim messages that are due, so that no other process sends them now."""
    now = clock.now()
    due = Delivery.objects.filter(status=Delivery.Status.PENDING, next_attempt_at__lte=now)
    claimed = []
    with write_transaction():
        for delivery in due.select_related("task", "run__task").order_by("next_attempt_at")[:limit]:
            ours = Delivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts, status=Delivery.Status.PENDING)
            delivery.attempts += 1
            if ours.update(attempts=delivery.attempts, next_attempt_at=now + _LEASE):
                claimed.append(delivery)
    return [_message(delivery) for delivery in claimed if _has_target(delivery)]


def _has_target(delivery: Delivery) -> bool:
    """Whether the task still has a webhook. If not, the delivery has failed."""
    if delivery.task.webhook_url and delivery.task.webhook_secret:
        return True
    finish(delivery, "The task no longer has a webhook.", True)
    return False


def finish(delivery: Delivery, error: str, is_final: bool) -> None:
    """Record the outcome of an attempt, and when the next one is due."""
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

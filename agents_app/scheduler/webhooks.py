"""Send webhooks when a task's run has ended: signed per Standard Webhooks, and retried until accepted.

A slow receiver delays its own messages only: each receiver and each owner has a share of the attempts under way.
"""

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
from agents_app.database.threads import DatabaseThreads
from agents_app.engine.web.guarded_client import AddressRefused, guarded_client
from agents_app.engine.web.resolving import WEBHOOKS
from agents_app.models import Delivery
from agents_app.scheduler import deliveries
from agents_app.scheduler.receivers import FAILURES, Breaker, Receiver

logger = logging.getLogger(__name__)

TIMEOUT = 15.0  # seconds of one attempt
_GONE = 410
_PAUSED = (
    f"Not sent: the receiver failed {FAILURES} times in a row, and gets one message a minute until it accepts one."
)


@dataclass(frozen=True, slots=True)
class Message:
    """One attempt: the same id and body as in every other, with the time and signature of this one."""

    owner: Any
    url: str
    body: bytes
    headers: dict[str, str]


class Sender:
    """Sends due messages in background tasks."""

    def __init__(self) -> None:
        self._database = DatabaseThreads("webhooks", 1)
        self._breaker = Breaker()
        self._claiming: asyncio.Task[None] | None = None
        self._sending: dict[asyncio.Task[None], Receiver] = {}

    def start(self) -> None:
        """Start to send what is due and may be sent now."""
        if self._claiming is None or self._claiming.done():
            self._claiming = spawn(self._claim(), name="webhooks")

    def stop(self) -> None:
        """Stop. Interrupted attempts are repeated later."""
        for task in [self._claiming, *self._sending]:
            if task is not None:
                task.cancel()

    async def _claim(self) -> None:
        try:
            for delivery in await self._database.run(deliveries.claim, list(self._sending.values())):
                receiver = Receiver.of(delivery.task.owner_id, delivery.task.webhook_url)
                task = spawn(self._send(delivery, receiver), name="webhook")
                self._sending[task] = receiver
                task.add_done_callback(self._free_place)
        except Exception:
            logger.exception("Could not send webhooks; trying again")

    def _free_place(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        if not task.cancelled():
            self.start()

    async def _send(self, delivery: Delivery, receiver: Receiver) -> None:
        try:
            error, is_final = await self._attempt(delivery, receiver)
        except Exception:
            logger.exception("Could not send webhook %s; trying again", delivery.pk)
            error, is_final = "Internal error of the server.", False
        try:
            await self._database.run(deliveries.finish, delivery, error, is_final)
        except Exception:
            logger.exception("Could not record the attempt to send webhook %s; trying again", delivery.pk)

    async def _attempt(self, delivery: Delivery, receiver: Receiver) -> tuple[str, bool]:
        """Send the message, unless its receiver is paused. The last attempt is always made."""
        if not self._breaker.admits(receiver) and not deliveries.is_last_attempt(delivery):
            return _PAUSED, False
        error, is_final = await post(_message(delivery))
        self._breaker.record(receiver, ok=not error)
        return error, is_final


def _message(delivery: Delivery) -> Message:
    body = orjson.dumps(payload(delivery))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"AInTandem/{settings.VERSION}",
        **signature_headers(f"msg_{delivery.pk.hex}", clock.now(), body, delivery.task.webhook_secret),
    }
    return Message(delivery.task.owner_id, delivery.task.webhook_url, body, headers)


def payload(delivery: Delivery) -> dict[str, Any]:
    """Return the body of the message about a run."""
    run = delivery.run
    return {
        "type": f"run.{run.status}",
        "timestamp": run.finished_at,
        "data": {
            "task_id": run.task_id,
            "task_name": run.task.name if run.task else None,
            "run_id": run.pk,
            "session_id": run.session.address_for(delivery.task.owner),
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
    allow_private, resolve = settings.FETCH_ALLOW_PRIVATE, WEBHOOKS.of(message.owner)
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            guarded_client(allow_private=allow_private, timeout=TIMEOUT, resolve=resolve) as client,
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

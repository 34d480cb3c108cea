"""The embedded engine: a nudge to the worker in this process, after the transaction that wrote the run.

The rows are the queue. A nudge that gets lost (a process without a worker) costs the worker's next look at them.
"""

import asyncio
import contextvars
import uuid
from dataclasses import dataclass
from functools import partial

from django.db import transaction

from agents_app.queue.receiver import Receiver


@dataclass(slots=True)
class _Registered:
    receiver: Receiver
    loop: asyncio.AbstractEventLoop


_registered: _Registered | None = None


def register(receiver: Receiver | None) -> None:
    """Let the worker of the running event loop know of runs; None takes it away."""
    global _registered
    _registered = _Registered(receiver, asyncio.get_running_loop()) if receiver else None


def set_draining() -> None:
    """Nothing to do here: the worker in this process knows."""


def workers_seen() -> int:
    """How many workers are alive."""
    return 0 if _registered is None or _registered.loop.is_closed() else 1


def draining() -> bool:
    """Whether this process is about to stop."""
    return _registered is not None and _registered.receiver.draining


def enqueue(run_id: uuid.UUID) -> None:
    """Hand the run over once the caller's transaction is committed."""
    transaction.on_commit(partial(_tell, "wake"))


def cancel(run_id: uuid.UUID) -> None:
    """Have the run stopped once the caller's transaction is committed."""
    transaction.on_commit(partial(_tell, "abort", run_id))


def _tell(what: str, *arguments: object) -> None:
    if _registered is not None and not _registered.loop.is_closed():
        call = getattr(_registered.receiver, what)
        _registered.loop.call_soon_threadsafe(call, *arguments, context=contextvars.Context())

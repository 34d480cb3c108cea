"""Streams of server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections
from django.http import StreamingHttpResponse

from agents_app.access import revocation
from agents_app.access.open_connections import Place

T = TypeVar("T")

PING_INTERVAL = 15.0  # seconds


class _Stream:
    """Events, and the place of their stream among what its user keeps open, which Django closes after the response."""

    def __init__(self, events: AsyncIterator[bytes], place: Place) -> None:
        self._events = events
        self.close = place.leave

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._events  # itself: nothing is added to the way of each event


def stream(events: AsyncIterator[bytes], place: Place) -> StreamingHttpResponse:
    """Return the response that sends the events as they come, and leaves the place at its end."""
    return StreamingHttpResponse(
        _Stream(events, place),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
    )


async def give_thread_back() -> None:
    """Release the request's thread and database connection, which Django keeps until the response has ended.

    A stream that is open for hours needs neither: all streams share the threads that read the log.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is None:
        return
    await sync_to_async(connections.close_all)()
    if executor := SyncToAsync.context_to_thread_executor.pop(context, None):
        executor.shutdown(wait=False)


async def batches(
    followed: AsyncIterator[list[T]], revoked: revocation.Revoked, *, pause: float
) -> AsyncIterator[list[T]]:
    """Yield what `followed` yields, and an empty list after each `pause` seconds without anything.

    Raises:
        AuthenticationExpired: the access of the client was revoked; see `revocation`.
        SessionNotFound: the session was deleted, or is not visible to the client any more.
    """
    async with contextlib.aclosing(followed):  # type: ignore[type-var]
        while True:
            batch = asyncio.ensure_future(anext(followed, None))
            try:
                either: set[asyncio.Future[Any]] = {batch, revoked}
                while not batch.done():
                    done, _ = await asyncio.wait(either, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                    revocation.require_access(revoked)
                    if not done:
                        yield []
                if (items := batch.result()) is None:
                    return
                yield items
            finally:
                batch.cancel()
                await asyncio.wait({batch})

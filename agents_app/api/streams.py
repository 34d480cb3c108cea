"""Server-sent events: what every stream of them has in common."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections
from django.http import StreamingHttpResponse

from agents_app import event_log
from agents_app.access import revocation
from agents_app.live import Frame

PING_INTERVAL = 15.0  # seconds


def stream(events: AsyncIterator[bytes]) -> StreamingHttpResponse:
    """The answer that sends them as they come."""
    return StreamingHttpResponse(
        events,
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
    )


async def give_thread_back() -> None:
    """Django keeps a thread, with a database connection, for each request until its answer has ended.

    A stream that is open for hours needs neither: what it waits for has threads of its own, for all streams together.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is None:
        return
    await sync_to_async(connections.close_all)()
    if executor := SyncToAsync.context_to_thread_executor.pop(context, None):
        executor.shutdown(wait=False)


async def batches(session_id: str, after: int, gone: revocation.Gone, *, pause: float) -> AsyncIterator[list[Frame]]:
    """What the log says, as it says it; an empty list where it has said nothing for `pause` seconds.

    Raises:
        NotWelcome: whoever listens may not any more; see `welcome`.
        SessionNotFound: the session was deleted.
    """
    async with contextlib.aclosing(event_log.follow(session_id, after)) as following:  # type: ignore[type-var]
        while True:
            batch = asyncio.ensure_future(anext(following))
            try:
                either: set[asyncio.Future[Any]] = {batch, gone}
                while not batch.done():
                    done, _ = await asyncio.wait(either, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                    revocation.require_welcome(gone)
                    if not done:
                        yield []
                yield batch.result()
            finally:
                batch.cancel()
                await asyncio.wait({batch})

"""Server-sent events: what every stream of them has in common."""

from collections.abc import AsyncIterator

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections
from django.http import StreamingHttpResponse

PING = b": ping\n\n"
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

"""Stream a tool call: its progress as it comes, then its result."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from django.http import StreamingHttpResponse

from agents_app import exact_json
from agents_app.access.open_connections import Place
from agents_app.api.errors import exception_handler
from agents_app.api.serializers.mcp_servers import OutcomeSerializer
from agents_app.api.sse import PING, event
from agents_app.api.streams import PING_INTERVAL, give_thread_back, stream
from agents_app.background import spawn
from agents_app.exceptions import AgentError
from agents_app.integrations.mcp_servers import ToolCall

_LARGEST_BACKLOG = 1000  # progress messages that a slow client has not read: later ones are dropped


def stream_call(call: ToolCall, place: Place) -> StreamingHttpResponse:
    """Make the call and return its stream. A client that closes the stream cancels the call."""
    return stream(_events(call), place)


async def _events(call: ToolCall) -> AsyncIterator[bytes]:
    yield PING  # so that the client sees at once that the stream is open
    await give_thread_back()
    events: asyncio.Queue[bytes | None] = asyncio.Queue()
    task = spawn(_call(call, events))
    try:
        while (item := await _next(events)) is not None:
            yield item
        task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _call(call: ToolCall, events: "asyncio.Queue[bytes | None]") -> None:
    """Put the events of the call into the queue, and None at the end."""

    def progress(text: str) -> None:
        if events.qsize() < _LARGEST_BACKLOG:
            events.put_nowait(_event("progress", {"text": text}))

    try:
        events.put_nowait(_event("result", OutcomeSerializer(await call.make(progress)).data))
    except AgentError as error:
        response = exception_handler(error, {})
        assert response is not None
        events.put_nowait(_event("error", response.data))
    finally:
        events.put_nowait(None)


async def _next(events: "asyncio.Queue[bytes | None]") -> bytes | None:
    try:
        async with asyncio.timeout(PING_INTERVAL):
            return await events.get()
    except TimeoutError:
        return PING


def _event(kind: str, data: Any) -> bytes:
    return event(exact_json.dumps(data), name=kind)

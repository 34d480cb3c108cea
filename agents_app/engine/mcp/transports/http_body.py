"""Bodies of HTTP responses: bounded, ended on request, and with messages that the SDK accepts."""

import asyncio
import codecs
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import httpx2
import mcp_types as types
import orjson

from agents_app.engine.mcp.json_rpc import is_json, is_proper, parse_message
from agents_app.engine.mcp.transports.base import BROKEN, LARGEST_MESSAGE, NO_ANSWER

T = TypeVar("T")
RequestId = int | str

_PARSE_IN_THREAD = 512 * 1024  # bytes


class Wait:
    """A wait that another task may end."""

    def __init__(self) -> None:
        self._has_ended = False
        self._timeout: asyncio.Timeout | None = None

    def end(self) -> None:
        self._has_ended = True
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def of(self, waiting: Coroutine[Any, Any, T]) -> T:
        """Return what `waiting` returns.

        Raises:
            TimeoutError: the wait was ended.
        """
        async with asyncio.timeout(0 if self._has_ended else None) as self._timeout:
            try:
                return await waiting
            finally:
                self._timeout = None


class ResponseBody(httpx2.AsyncByteStream):
    """The body of a response. If the wait for it is ended, its last event answers the request with an error."""

    def __init__(
        self, inner: httpx2.AsyncByteStream, wait: Wait, request_id: RequestId, waits: dict[RequestId, Wait]
    ) -> None:
        self._inner, self._wait, self._id, self._waits = inner, wait, request_id, waits

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._inner)
        while True:
            try:
                chunk = await self._wait.of(_next(chunks))
            except TimeoutError:
                yield b"\n\nevent: message\ndata: " + rpc_error(self._id, BROKEN, "it did not answer") + b"\n\n"
                return
            if chunk is None:
                return
            yield chunk

    async def aclose(self) -> None:
        self._waits.pop(self._id, None)
        await self._inner.aclose()


class EventBody(httpx2.AsyncByteStream):
    """The events of a response, written again: what is no message is left out, and what breaks the rules an error.

    `request_id`: the request that the response answers; None for a stream that answers none.
    """

    def __init__(self, response: httpx2.Response, request_id: RequestId | None) -> None:
        self._response, self._id = response, request_id

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._response.stream = _WithoutMark(self._response.stream)  # type: ignore[arg-type]
        async for event in httpx2.EventSource(self._response, max_event_size=LARGEST_MESSAGE):
            data = event.data
            if data and event.event == "message" and not is_proper(data):
                data = (await self._message(data)).decode()
            lines = [f"retry: {event.retry}"] if event.retry is not None else []
            lines += [f"id: {event.id}", f"event: {event.event}", *(f"data: {line}" for line in data.split("\n"))]
            yield ("\n".join(lines) + "\n\n").encode()

    async def _message(self, data: str) -> bytes:
        """Return the message in the event; nothing if there is none."""
        try:
            message = await _parse(data)
        except ValueError:
            is_answer = self._id is not None and is_json(data)
            return rpc_error(self._id, BROKEN, NO_ANSWER) if is_answer else b""
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode()

    async def aclose(self) -> None:
        await self._response.aclose()


class _WithoutMark(httpx2.AsyncByteStream):
    """A body without the byte-order mark before it, and with an end to its last event."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        head: bytes | None = b""
        async for chunk in self._inner:
            if head is None:
                yield chunk
                continue
            head += chunk
            if len(head) >= len(codecs.BOM_UTF8) or not codecs.BOM_UTF8.startswith(head):
                yield head.removeprefix(codecs.BOM_UTF8)
                head = None
        yield (head or b"") + b"\n\n"

    async def aclose(self) -> None:
        await self._inner.aclose()


async def read(response: httpx2.Response, max_bytes: int, wait: Wait) -> bytes | None:
    """Return the body, or None if it is longer than `max_bytes`. Closes the response."""
    parts, size = [], 0
    try:
        async with contextlib.aclosing(response.aiter_raw()) as chunks:
            while (chunk := await wait.of(_next(chunks))) is not None:
                size += len(chunk)
                if size > max_bytes:
                    return None
                parts.append(chunk)
    finally:
        await response.aclose()
    return b"".join(parts)


async def answer(body: bytes) -> types.JSONRPCResponse | types.JSONRPCError | None:
    """Return the answer in the body of a response; None if there is none."""
    try:
        message = await _parse(body)
    except ValueError:
        return None
    return message if isinstance(message, types.JSONRPCResponse | types.JSONRPCError) else None


async def _parse(text: bytes | str) -> types.JSONRPCMessage:
    if len(text) > _PARSE_IN_THREAD:
        return await asyncio.to_thread(parse_message, text)
    return parse_message(text)


def media_type(response: httpx2.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def rpc_error(request_id: RequestId | None, code: int, text: str, data: Any = None) -> bytes:
    error = {"code": code, "message": text} | ({} if data is None else {"data": data})
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": error})


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)

"""HTTP with server-sent events, as servers had it before streamable HTTP: one stream for all answers.

The SDK's own takes no answer above 1 MiB, sends one message at a time, and lets a call hang whose request the server
refuses.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import anyio
import httpx2
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared._httpx_utils import request_within_origin, sse_within_origin
from mcp.shared.message import SessionMessage

from agents_app.engine.mcp.json_rpc import message
from agents_app.engine.mcp.transports.base import BROKEN, LARGEST_MESSAGE, Streams, Unusable
from agents_app.engine.mcp.transports.http_errors import Wire
from agents_app.engine.spec import ServerSpec

Incoming = MemoryObjectSendStream[SessionMessage | Exception]


class SseTransport:
    """A server behind one address, and another that it names."""

    last_words = ""

    def __init__(self, spec: ServerSpec) -> None:
        self._url = spec.url
        self._wire = Wire(spec, in_body=False)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Streams]:
        """Open the stream of answers, and learn where to send requests.

        Raises:
            Unusable: the server does not open one.
        """
        async with self._wire.client() as client:
            try:
                stack = contextlib.AsyncExitStack()
                events = await stack.enter_async_context(
                    sse_within_origin(client, self._url, max_event_size=LARGEST_MESSAGE)
                )
            except httpx2.TransportError:
                raise Unusable(self._wire.problem) from None
            async with stack:
                if self._wire.problem:
                    raise Unusable(self._wire.problem)
                async with self._streams(client, events) as streams:
                    yield streams

    @contextlib.asynccontextmanager
    async def _streams(self, client: httpx2.AsyncClient, events: httpx2.EventSource) -> AsyncIterator[Streams]:
        incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        reader = asyncio.create_task(self._read(events, endpoint, incoming))
        writer = asyncio.create_task(self._write(client, endpoint, outgoing, incoming))
        try:
            await endpoint
            yield read, write
        finally:
            for stream in (read, incoming, write, outgoing):
                stream.close()
            for task in (reader, writer):
                task.cancel()
            await asyncio.wait((reader, writer), timeout=1)

    async def why(self) -> str:
        """What last went wrong, as the end of a sentence."""
        return self._wire.problem

    def forsake(self, request_id: int) -> bool:
        """Nothing waits for the request but its caller."""
        self._wire.abort(request_id)
        return False

    async def _read(self, events: httpx2.EventSource, endpoint: "asyncio.Future[str]", incoming: Incoming) -> None:
        try:
            async for event in events:
                if event.event == "endpoint" and not endpoint.done():
                    endpoint.set_result(self._within_origin(event.data))
                elif event.event == "message" and event.data:
                    with contextlib.suppress(ValueError):  # not a message of the protocol
                        await incoming.send(SessionMessage(message(event.data)))
            self._wire.problem = "it closed the connection"
        except (httpx2.TransportError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._wire.problem = "the connection to it broke"
        except Unusable as error:
            self._wire.problem = str(error)
        finally:
            incoming.close()
            if not endpoint.done():
                endpoint.set_exception(Unusable(self._wire.problem or "it did not say where to send requests"))

    def _within_origin(self, address: str) -> str:
        """Where requests go; with the server's headers, so it may be nobody else's."""
        ours = httpx2.URL(self._url)
        try:
            url = ours.join(address)
        except httpx2.InvalidURL:
            raise Unusable("it names no address to send requests to") from None
        if (url.scheme, url.host, url.port) != (ours.scheme, ours.host, ours.port):
            raise Unusable("it names another host to send requests to, which is not done")
        return str(url.copy_with(userinfo=ours.userinfo))

    async def _write(
        self,
        client: httpx2.AsyncClient,
        endpoint: "asyncio.Future[str]",
        outgoing: MemoryObjectReceiveStream[SessionMessage],
        incoming: Incoming,
    ) -> None:
        async with asyncio.TaskGroup() as posts:
            async for item in outgoing:
                post = self._post(client, endpoint.result(), item.message, incoming)
                if isinstance(item.message, types.JSONRPCRequest):
                    posts.create_task(post)  # a server may take its time before it says 202
                else:
                    await post  # what follows a notification may rely on it

    async def _post(self, client: httpx2.AsyncClient, url: str, said: types.JSONRPCMessage, incoming: Incoming) -> None:
        body = said.model_dump(by_alias=True, mode="json", exclude_unset=True)
        response = await request_within_origin(client, "POST", url, json=body)
        if response.is_success or not isinstance(said, types.JSONRPCRequest):
            return
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await incoming.send(SessionMessage(_refusal(said.id, response)))


def _refusal(request_id: types.RequestId, response: httpx2.Response) -> types.JSONRPCMessage:
    with contextlib.suppress(ValueError):
        said = types.jsonrpc_message_adapter.validate_json(response.content, by_name=False)
        if isinstance(said, types.JSONRPCError):
            return types.JSONRPCError(jsonrpc="2.0", id=request_id, error=said.error)
    error = types.ErrorData(code=BROKEN, message=f"it answered {response.status_code}")
    return types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)

"""The HTTP+SSE transport, which came before streamable HTTP: one event stream for all answers.

Instead of the SDK's `sse_client`; README.md in the folder above says what that lacks.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import anyio
import httpx2
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from agents_app.engine.mcp.json_rpc import parse_message
from agents_app.engine.mcp.transports.base import BROKEN, LARGEST_MESSAGE, ConnectFailed, Streams
from agents_app.engine.mcp.transports.http_errors import ReportingTransport
from agents_app.engine.spec import ServerSpec

Incoming = MemoryObjectSendStream[SessionMessage | Exception]

_EVENT_STREAM = {"Accept": "text/event-stream", "Cache-Control": "no-store"}


class SseTransport:
    """A server with one URL for the event stream, and another, which it names, for requests."""

    last_log_line = ""
    refused: tuple[str, ...] = ()  # nothing of it runs here

    def __init__(self, spec: ServerSpec) -> None:
        self._url = spec.url
        self._http = ReportingTransport(spec, in_body=False)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Streams]:
        """Open the event stream, and learn where to send requests.

        Raises:
            ConnectFailed: the server opens no stream.
        """
        async with self._http.client() as client:
            try:
                response = await _send(client, client.build_request("GET", self._url, headers=_EVENT_STREAM))
            except httpx2.TransportError:
                raise ConnectFailed(self._http.problem) from None
            async with contextlib.aclosing(response):
                if self._http.problem:
                    raise ConnectFailed(self._http.problem)
                events = httpx2.EventSource(response, max_event_size=LARGEST_MESSAGE)
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

    async def end_reason(self) -> str:
        """Return the last problem, as the end of a sentence."""
        return self._http.problem

    def abandon(self, request_id: int) -> bool:
        """End the POST of the request; nothing else waits for it."""
        self._http.abort(request_id)
        return False

    async def _read(self, events: httpx2.EventSource, endpoint: "asyncio.Future[str]", incoming: Incoming) -> None:
        try:
            async for event in events:
                if event.event == "endpoint" and not endpoint.done():
                    endpoint.set_result(self._within_origin(event.data))
                elif event.event == "message" and event.data:
                    with contextlib.suppress(ValueError):  # not a protocol message
                        await incoming.send(SessionMessage(parse_message(event.data)))
            self._http.problem = "it closed the connection"
        except (httpx2.TransportError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._http.problem = "the connection to it broke"
        except ConnectFailed as error:
            self._http.problem = str(error)
        finally:
            incoming.close()
            if not endpoint.done():
                endpoint.set_exception(ConnectFailed(self._http.problem or "it did not say where to send requests"))

    def _within_origin(self, address: str) -> str:
        """Return the URL for requests. They carry the server's credentials, so it must be on the same host."""
        base = httpx2.URL(self._url)
        try:
            url = base.join(address)
        except httpx2.InvalidURL:
            raise ConnectFailed("it names no valid URL to send requests to") from None
        if _origin(url) != _origin(base):
            raise ConnectFailed("it names another host to send requests to, which is not allowed")
        return str(url.copy_with(userinfo=base.userinfo))

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
                    posts.create_task(post)  # a server may be slow to answer 202
                else:
                    await post  # later messages may rely on a notification

    async def _post(
        self, client: httpx2.AsyncClient, url: str, message: types.JSONRPCMessage, incoming: Incoming
    ) -> None:
        body = message.model_dump(by_alias=True, mode="json", exclude_unset=True)
        response = await _send(client, client.build_request("POST", url, json=body))
        async with contextlib.aclosing(response):
            await response.aread()
        if response.is_success or not isinstance(message, types.JSONRPCRequest):
            return
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await incoming.send(SessionMessage(_rejection(message.id, response)))


async def _send(client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    """Return the response, its body unread. Follow redirects that keep the method, the host and its credentials."""
    for _ in range(client.max_redirects):
        response = await client.send(request, stream=True, follow_redirects=False)
        redirected = response.next_request
        if redirected is None or not _is_same_endpoint(request, redirected):
            return response
        await response.aclose()
        request = redirected
    return await client.send(request, stream=True, follow_redirects=False)


def _is_same_endpoint(request: httpx2.Request, redirected: httpx2.Request) -> bool:
    old, new = request.url, redirected.url
    is_upgrade = (old.scheme, new.scheme) == ("http", "https") and old.host == new.host and old.port is new.port is None
    return (
        redirected.method == request.method
        and (not new.userinfo or new.userinfo == old.userinfo)
        and (_origin(old) == _origin(new) or is_upgrade)
    )


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _rejection(request_id: types.RequestId, response: httpx2.Response) -> types.JSONRPCMessage:
    with contextlib.suppress(ValueError):
        answer = types.jsonrpc_message_adapter.validate_json(response.content, by_name=False)
        if isinstance(answer, types.JSONRPCError):
            return types.JSONRPCError(jsonrpc="2.0", id=request_id, error=answer.error)
    error = types.ErrorData(code=BROKEN, message=f"it answered {response.status_code}")
    return types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)

"""HTTP below the SDK's transports: what goes wrong is said, per request, in the place of the answer.

Without it the SDK would end the whole connection, with all calls on it, where one request fails; would not say what the
server answered; and would let a cancelled request wait for as long as the server likes.
"""

import asyncio
import contextlib
import functools
import http
import logging
import ssl
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import httpx2
import orjson

from agents_app.engine.mcp.redaction import place
from agents_app.engine.mcp.transports.base import BROKEN, LARGEST_MESSAGE, NOT_DELIVERED, SESSION_LOST, TOO_LARGE
from agents_app.engine.spec import JSON, ServerSpec

T = TypeVar("T")

_CONNECT_TIMEOUT = 10.0
_SHORT_TIMEOUT = 10.0  # of what needs no work on the server's side
_FAREWELL_TIMEOUT = 2.0
_LONGEST_ERROR = 64 * 1024  # bytes of an error's body that we look at
_SESSION = "mcp-session-id"

# They log addresses with their query, and what servers send; what matters of it, we say ourselves.
for _name in ("mcp.client", "client", "httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """One for all clients: reading the certificate authorities takes 20 ms."""
    return httpx2.create_ssl_context()


class Wire(httpx2.AsyncBaseTransport):
    """Carries the requests of one connection. `problem` is what last went wrong, as the end of a sentence.

    `in_body`: a request is answered by the body of its response (streamable HTTP), not elsewhere (SSE).
    """

    def __init__(self, spec: ServerSpec, *, in_body: bool) -> None:
        self.problem = ""
        self._spec = spec
        self._place = place(spec.url)
        self._in_body = in_body
        self._patience: dict[int | str, _Patience] = {}
        self._inner = httpx2.AsyncHTTPTransport(
            verify=_ssl_context(), limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20)
        )

    def client(self) -> httpx2.AsyncClient:
        """A client that sends the server's headers. Redirects, netrc files and proxies are left alone."""
        return httpx2.AsyncClient(
            transport=self,
            headers=dict(self._spec.headers) | {"Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(connect=_CONNECT_TIMEOUT, read=None, write=30.0, pool=_CONNECT_TIMEOUT),
            trust_env=False,
        )

    def abort(self, request_id: int) -> None:
        """Wait no longer for the answer to this request."""
        if request_id in self._patience:
            self._patience[request_id].end()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        message: JSON = orjson.loads(request.content) if request.method == "POST" else {}
        request_id = message.get("id") if "method" in message else None
        if request.method == "DELETE":
            request.extensions["timeout"] |= {"connect": _FAREWELL_TIMEOUT, "read": _FAREWELL_TIMEOUT}
        elif request_id is None and request.method != "GET":
            request.extensions["timeout"] |= {"read": _SHORT_TIMEOUT}
        patience = _Patience()
        if request_id is None:
            return await self._exchange(request, None, patience)
        self._patience[request_id] = patience
        try:
            response = await self._exchange(request, request_id, patience)
        except BaseException:
            del self._patience[request_id]
            raise
        response.stream = _Answer(response.stream, patience, request_id, self._patience)  # type: ignore[arg-type]
        return response

    async def _exchange(self, request: httpx2.Request, request_id: Any, patience: "_Patience") -> httpx2.Response:
        try:
            response = await patience.of(self._inner.handle_async_request(request))
            if request.method == "POST":
                return await self._explained(request, request_id, response, patience)
            if request.method == "GET" and response.status_code != http.HTTPStatus.METHOD_NOT_ALLOWED:
                self._note(response)
            return response
        except TimeoutError:  # of our patience
            return _error(request_id, BROKEN, "it did not answer")
        except httpx2.TransportError as error:
            self.problem = self._network_problem(error)
            if request.method == "GET":
                raise
            unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
            return _error(request_id, NOT_DELIVERED if unsent else BROKEN, self.problem)

    async def _explained(
        self, request: httpx2.Request, request_id: Any, response: httpx2.Response, patience: "_Patience"
    ) -> httpx2.Response:
        """The response, or an error in its place that says what is wrong with it."""
        kind = _media_type(response)
        self.problem = ""
        if response.is_redirect or (response.is_success and (not self._in_body or kind == "text/event-stream")):
            return response
        if response.is_success and (kind == "application/json" or request_id is None or response.status_code == 202):
            body = await _read(response, LARGEST_MESSAGE, patience)
            if body is None:
                return _error(request_id, TOO_LARGE, "The answer is too large.")
            return httpx2.Response(response.status_code, headers=response.headers, content=body)
        body = await _read(response, _LONGEST_ERROR, patience) or b""
        if _SESSION in request.headers and _forgot_session(response.status_code, body):
            return _error(request_id, SESSION_LOST, "it has forgotten the session")
        if kind == "application/json" and _is_rpc_error(body):
            return httpx2.Response(response.status_code, headers=response.headers, content=body)
        self._note(response)
        refused = response.is_client_error or response.is_success
        return _error(request_id, NOT_DELIVERED if refused else BROKEN, self.problem)

    def _note(self, response: httpx2.Response) -> None:
        status = response.status_code
        if response.is_success:
            if _media_type(response) == "text/event-stream":
                return
            self.problem = f"{self._place} answered with {_media_type(response) or 'no media type'}, not with MCP"
            return
        phrase = response.reason_phrase or "an unknown status"
        hint = {
            401: ": it wants other credentials",
            403: ": the credentials are not enough",
            404: ": there is no MCP at this address",
            405: ": there is no MCP of this transport at this address",
        }.get(status, "")
        self.problem = f"{self._place} answered {status} {phrase}{hint}"

    def _network_problem(self, error: httpx2.TransportError) -> str:
        if isinstance(error, httpx2.TimeoutException):
            return f"{self._place} did not answer in time"
        if "SSL" in str(error) or "CERTIFICATE" in str(error):
            return f"no secure connection to {self._place} could be made: its certificate may be wrong"
        if isinstance(error, httpx2.ConnectError):
            return f"nothing answers at {self._place}"
        return f"the connection to {self._place} broke"


class _Patience:
    """A wait that somebody else may end."""

    def __init__(self) -> None:
        self._over = False
        self._timeout: asyncio.Timeout | None = None

    def end(self) -> None:
        self._over = True
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def of(self, waiting: Coroutine[Any, Any, T]) -> T:
        """What `waiting` returns.

        Raises:
            TimeoutError: the wait was ended.
        """
        async with asyncio.timeout(0 if self._over else None) as self._timeout:
            try:
                return await waiting
            finally:
                self._timeout = None


class _Answer(httpx2.AsyncByteStream):
    """The body of a response; where the wait for it is ended, its last event answers the request."""

    def __init__(
        self,
        inner: httpx2.AsyncByteStream,
        patience: _Patience,
        request_id: int | str,
        registry: dict[int | str, _Patience],
    ) -> None:
        self._inner, self._patience, self._id, self._registry = inner, patience, request_id, registry

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._inner)
        while True:
            try:
                chunk = await self._patience.of(_next(chunks))
            except TimeoutError:
                yield b"\n\nevent: message\ndata: " + _rpc_error(self._id, BROKEN, "it did not answer") + b"\n\n"
                return
            if chunk is None:
                return
            yield chunk

    async def aclose(self) -> None:
        self._registry.pop(self._id, None)
        await self._inner.aclose()


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def _read(response: httpx2.Response, most: int, patience: _Patience) -> bytes | None:
    """The body; None where it is longer than `most`. The response is closed."""
    parts, size = [], 0
    try:
        async with contextlib.aclosing(response.aiter_raw()) as chunks:
            while (chunk := await patience.of(_next(chunks))) is not None:
                size += len(chunk)
                if size > most:
                    return None
                parts.append(chunk)
    finally:
        await response.aclose()
    return b"".join(parts)


def _media_type(response: httpx2.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _forgot_session(status: int, body: bytes) -> bool:
    """Servers should say it by 404; the official SDK for TypeScript lets many say 400, in words."""
    return status == http.HTTPStatus.NOT_FOUND or (status == http.HTTPStatus.BAD_REQUEST and b"session" in body.lower())


def _is_rpc_error(body: bytes) -> bool:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(message, dict) and isinstance(message.get("error"), dict)


def _rpc_error(request_id: Any, code: int, text: str) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}})


def _error(request_id: Any, code: int, text: str) -> httpx2.Response:
    """An answer of our own: the SDK takes the error from the body of a failure."""
    body = _rpc_error(request_id, code, text)
    return httpx2.Response(http.HTTPStatus.BAD_GATEWAY, headers={"content-type": "application/json"}, content=body)

"""An httpx2 transport below the SDK's: it reports each failure as the answer to its request.

Without it the SDK ends the whole connection, with all calls on it, if one request fails; does not say what the server
answered; and lets a cancelled request wait for as long as the server likes. README.md in the folder above has the list.
"""

import asyncio
import contextlib
import http
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import httpx2
import orjson

from agents_app.engine.mcp.redaction import public_url
from agents_app.engine.mcp.transports.base import BROKEN, LARGEST_MESSAGE, NOT_DELIVERED, SESSION_LOST, TOO_LARGE
from agents_app.engine.spec import JSON, ServerSpec
from agents_app.engine.tls import ssl_context
from agents_app.engine.web import metadata_guard

T = TypeVar("T")

_CONNECT_TIMEOUT = 10.0
_SHORT_TIMEOUT = 10.0  # for what needs no work of the server
_DELETE_TIMEOUT = 2.0
_MAX_ERROR_BODY = 64 * 1024  # bytes of an error's body that are read
_SESSION = "mcp-session-id"

# They log URLs with their query, and what servers send. This package logs what matters.
for _name in ("mcp.client", "client", "httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class ReportingTransport(httpx2.AsyncBaseTransport):
    """Carries the requests of one connection. `problem` is the last failure, as the end of a sentence.

    `in_body`: the body of a response answers the request (streamable HTTP), not an event elsewhere (SSE).
    """

    def __init__(self, spec: ServerSpec, *, in_body: bool) -> None:
        self.problem = ""
        self._spec = spec
        self._url = public_url(spec.url)
        self._in_body = in_body
        self._waits: dict[int | str, _Wait] = {}
        self._inner = httpx2.AsyncHTTPTransport(
            verify=ssl_context(), limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20)
        )

    def client(self) -> httpx2.AsyncClient:
        """Return a client that sends the server's headers. It uses no redirects, netrc files or proxies."""
        return httpx2.AsyncClient(
            transport=self,
            headers=dict(self._spec.headers) | {"Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(connect=_CONNECT_TIMEOUT, read=None, write=30.0, pool=_CONNECT_TIMEOUT),
            trust_env=False,
        )

    def abort(self, request_id: int) -> None:
        """Stop waiting for the answer to this request."""
        if request_id in self._waits:
            self._waits[request_id].end()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions = {**request.extensions, "trace": metadata_guard.async_trace}
        message: JSON = orjson.loads(request.content) if request.method == "POST" else {}
        request_id = message.get("id") if "method" in message else None
        if request.method == "DELETE":
            request.extensions["timeout"] |= {"connect": _DELETE_TIMEOUT, "read": _DELETE_TIMEOUT}
        elif request_id is None and request.method != "GET":
            request.extensions["timeout"] |= {"read": _SHORT_TIMEOUT}
        wait = _Wait()
        if request_id is None:
            return await self._exchange(request, None, wait)
        self._waits[request_id] = wait
        try:
            response = await self._exchange(request, request_id, wait)
        except BaseException:
            del self._waits[request_id]
            raise
        response.stream = _ResponseBody(response.stream, wait, request_id, self._waits)  # type: ignore[arg-type]
        return response

    async def _exchange(self, request: httpx2.Request, request_id: Any, wait: "_Wait") -> httpx2.Response:
        try:
            response = await wait.of(self._inner.handle_async_request(request))
            if request.method == "POST":
                return await self._check(request, request_id, response, wait)
            if request.method == "GET" and response.status_code != http.HTTPStatus.METHOD_NOT_ALLOWED:
                self._note(response)
            return response
        except TimeoutError:  # `abort` ended the wait
            return _error(request_id, BROKEN, "it did not answer")
        except httpx2.TransportError as error:
            self.problem = self._network_problem(error)
            if request.method == "GET":
                raise
            unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
            return _error(request_id, NOT_DELIVERED if unsent else BROKEN, self.problem)

    async def _check(
        self, request: httpx2.Request, request_id: Any, response: httpx2.Response, wait: "_Wait"
    ) -> httpx2.Response:
        """Return the response, or an error in its place that says what is wrong with it."""
        kind = _media_type(response)
        self.problem = ""
        if response.is_redirect or (response.is_success and (not self._in_body or kind == "text/event-stream")):
            return response
        if response.is_success and (kind == "application/json" or request_id is None or response.status_code == 202):
            body = await _read(response, LARGEST_MESSAGE, wait)
            if body is None:
                return _error(request_id, TOO_LARGE, "The answer is too large.")
            return httpx2.Response(response.status_code, headers=response.headers, content=body)
        body = await _read(response, _MAX_ERROR_BODY, wait) or b""
        if _SESSION in request.headers and _forgot_session(response.status_code, body):
            return _error(request_id, SESSION_LOST, "it has forgotten the session")
        if kind == "application/json" and _is_rpc_error(body):
            return httpx2.Response(response.status_code, headers=response.headers, content=body)
        self._note(response)
        is_rejected = response.is_client_error or response.is_success
        return _error(request_id, NOT_DELIVERED if is_rejected else BROKEN, self.problem)

    def _note(self, response: httpx2.Response) -> None:
        status = response.status_code
        if response.is_success:
            if _media_type(response) == "text/event-stream":
                self.problem = ""  # of a redirect before
                return
            self.problem = f"{self._url} answered with {_media_type(response) or 'no media type'}, not with MCP"
            return
        phrase = response.reason_phrase or "an unknown status"
        hint = {
            401: ": it requires other credentials",
            403: ": the credentials are not enough",
            404: ": there is no MCP server at this URL",
            405: ": there is no MCP server of this transport at this URL",
        }.get(status, "")
        self.problem = f"{self._url} answered {status} {phrase}{hint}"

    def _network_problem(self, error: httpx2.TransportError) -> str:
        if isinstance(error, httpx2.TimeoutException):
            return f"{self._url} did not answer in time"
        if "SSL" in str(error) or "CERTIFICATE" in str(error):
            return f"no secure connection to {self._url} could be made: its certificate may be wrong"
        if isinstance(error, httpx2.ConnectError):
            return f"nothing answers at {self._url}"
        return f"the connection to {self._url} broke"


class _Wait:
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


class _ResponseBody(httpx2.AsyncByteStream):
    """The body of a response. If the wait for it is ended, its last event answers the request with an error."""

    def __init__(
        self,
        inner: httpx2.AsyncByteStream,
        wait: _Wait,
        request_id: int | str,
        waits: dict[int | str, _Wait],
    ) -> None:
        self._inner, self._wait, self._id, self._waits = inner, wait, request_id, waits

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._inner)
        while True:
            try:
                chunk = await self._wait.of(_next(chunks))
            except TimeoutError:
                yield b"\n\nevent: message\ndata: " + _rpc_error(self._id, BROKEN, "it did not answer") + b"\n\n"
                return
            if chunk is None:
                return
            yield chunk

    async def aclose(self) -> None:
        self._waits.pop(self._id, None)
        await self._inner.aclose()


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def _read(response: httpx2.Response, max_bytes: int, wait: _Wait) -> bytes | None:
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


def _media_type(response: httpx2.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _forgot_session(status: int, body: bytes) -> bool:
    """Servers should answer 404; with the official SDK for TypeScript many answer 400 and a sentence."""
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
    """Return an answer of ours: the SDK takes the error from the body of a failure."""
    body = _rpc_error(request_id, code, text)
    return httpx2.Response(http.HTTPStatus.BAD_GATEWAY, headers={"content-type": "application/json"}, content=body)

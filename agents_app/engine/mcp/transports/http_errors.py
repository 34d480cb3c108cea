"""An httpx2 transport below the SDK's: it reports each failure as the answer to its request.

Without it the SDK ends the whole connection, with all calls on it, if one request fails; does not say what the server
answered; and lets a cancelled request wait for as long as the server likes. README.md in the folder above has the list.
"""

import http
import logging
from typing import Any

import httpx2
import mcp_types as types
import orjson
from mcp.shared.dispatcher import coerce_request_id

from agents_app.engine.mcp.redaction import public_url
from agents_app.engine.mcp.transports import http_body
from agents_app.engine.mcp.transports.base import (
    BROKEN,
    LARGEST_MESSAGE,
    NOT_DELIVERED,
    SESSION_DOUBTFUL,
    SESSION_LOST,
    TOO_LARGE,
)
from agents_app.engine.mcp.transports.http_body import Wait, media_type
from agents_app.engine.spec import JSON, ServerSpec
from agents_app.engine.tls import ssl_context
from agents_app.engine.web import metadata_guard

_CONNECT_TIMEOUT = 10.0
_SHORT_TIMEOUT = 10.0  # for what needs no work of the server
_DELETE_TIMEOUT = 2.0
_MAX_ERROR_BODY = 64 * 1024  # bytes of an error's body that are read
_SESSION = "mcp-session-id"
_ENCODING = ("content-encoding", "content-length", "transfer-encoding")
# Statuses of a request that was not taken. Others, such as 400 and 500, may follow its effect.
_REJECTIONS = (401, 403, 404, 405, 406, 407, 411, 413, 414, 415, 417, 421, 426, 428, 429, 431, 451)

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
        self._waits: dict[int | str, Wait] = {}
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
        wait = Wait()
        if request_id is None:
            return await self._exchange(request, None, wait)
        self._waits[request_id] = wait
        try:
            response = await self._exchange(request, request_id, wait)
        except BaseException:
            del self._waits[request_id]
            raise
        response.stream = http_body.ResponseBody(response.stream, wait, request_id, self._waits)  # type: ignore[arg-type]
        return response

    async def _exchange(self, request: httpx2.Request, request_id: Any, wait: "Wait") -> httpx2.Response:
        try:
            response = await wait.of(self._inner.handle_async_request(request))
            if request.method == "POST":
                return await self._check(request, request_id, response, wait)
            if request.method == "GET" and response.status_code != http.HTTPStatus.METHOD_NOT_ALLOWED:
                self._note(response)
            if response.is_success and media_type(response) == "text/event-stream":
                return _with_events(request, response, None)
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
        self, request: httpx2.Request, request_id: Any, response: httpx2.Response, wait: Wait
    ) -> httpx2.Response:
        """Return the response, or an error in its place that says what is wrong with it."""
        self.problem = ""
        if response.is_success and not self._in_body:
            return response
        if response.is_redirect:
            return await self._check_redirect(request_id, response)
        if response.is_success and media_type(response) == "text/event-stream":
            return _with_events(request, response, request_id)
        body = await http_body.read(response, LARGEST_MESSAGE if response.is_success else _MAX_ERROR_BODY, wait)
        if body is None and response.is_success:
            return _error(request_id, TOO_LARGE, "The answer is too large.")
        if request_id is None and response.is_success:
            return httpx2.Response(http.HTTPStatus.ACCEPTED)
        return await self._answer(request, request_id, response, body or b"")

    async def _answer(
        self, request: httpx2.Request, request_id: Any, response: httpx2.Response, body: bytes
    ) -> httpx2.Response:
        """Return the answer in the body; an error if there is none."""
        answer = await http_body.answer(body)
        is_to_request = answer is not None and answer.id is not None and coerce_request_id(answer.id) == request_id
        doubt = _doubt(request, response.status_code, answer, body, is_to_request=is_to_request)
        if doubt == SESSION_LOST:
            return _error(request_id, SESSION_LOST, "it has forgotten the session")
        if answer is None:
            self._note(response)
            code = NOT_DELIVERED if response.status_code in _REJECTIONS else BROKEN
            error = types.ErrorData(code=code, message=self.problem)
            answer = types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)
        if doubt and isinstance(answer, types.JSONRPCError):
            return _error(request_id, doubt, answer.error.message, answer.error.code)
        content = answer.model_copy(update={"id": request_id}).model_dump_json(by_alias=True, exclude_unset=True)
        return _response(response, content.encode())

    async def _check_redirect(self, request_id: Any, response: httpx2.Response) -> httpx2.Response:
        """Return an error for a redirect that turns the request into a GET, and may follow its effect."""
        if request_id is None or response.status_code in (307, 308):
            return response
        await response.aclose()
        self.problem = f"{self._url} redirects to another address, which is not followed"
        return _error(request_id, BROKEN, self.problem)

    def _note(self, response: httpx2.Response) -> None:
        status = response.status_code
        if response.is_success:
            if media_type(response) == "text/event-stream":
                self.problem = ""  # of a redirect before
                return
            self.problem = f"{self._url} answered with {media_type(response) or 'no media type'}, not with MCP"
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


def _doubt(
    request: httpx2.Request,
    status: int,
    answer: "types.JSONRPCResponse | types.JSONRPCError | None",
    body: bytes,
    *,
    is_to_request: bool,
) -> int:
    """Return whether the server has lost the session: SESSION_LOST, SESSION_DOUBTFUL, or 0 if it has not.

    A lost session should be answered by 404. With the official SDK for TypeScript many servers answer 400 and a
    sentence, which the tool behind a call may have written as well.
    """
    if _SESSION not in request.headers or status not in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.BAD_REQUEST):
        return 0
    speaks_of_session = b"session" in body.lower()
    if status == http.HTTPStatus.NOT_FOUND and not is_to_request:
        return SESSION_LOST if answer is None or speaks_of_session else SESSION_DOUBTFUL
    return SESSION_DOUBTFUL if speaks_of_session else 0


def _with_events(request: httpx2.Request, response: httpx2.Response, request_id: Any) -> httpx2.Response:
    response.request = request
    headers = {name: value for name, value in response.headers.items() if name not in _ENCODING}
    return httpx2.Response(response.status_code, headers=headers, stream=http_body.EventBody(response, request_id))


def _response(response: httpx2.Response, content: bytes) -> httpx2.Response:
    """Return the response with another body."""
    headers = {"content-type": "application/json"}
    if _SESSION in response.headers:
        headers[_SESSION] = response.headers[_SESSION]
    return httpx2.Response(http.HTTPStatus.OK, headers=headers, content=content)


def _error(request_id: Any, code: int, text: str, data: Any = None) -> httpx2.Response:
    """Return an answer of ours: the SDK takes the error from the body of a failure."""
    body = http_body.rpc_error(request_id, code, text, data)
    return httpx2.Response(http.HTTPStatus.BAD_GATEWAY, headers={"content-type": "application/json"}, content=body)

"""daphne's protocols with what they lack: limits, back-pressure, and a cheap send."""

import time
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from autobahn.websocket.types import ConnectionDeny
from daphne.http_protocol import WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from django.http import HttpResponse
from twisted.internet.protocol import connectionDone
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers

from agents_app.api import error_responses
from agents_app.api.body_limits import body_limit
from agents_app.observability import metrics
from agents_app.server.daphne import refusals
from agents_app.server.daphne.admission import Admission
from agents_app.server.daphne.backpressure import Writable, text_frame, unsent, write_now
from agents_app.server.daphne.connections import Connections
from agents_app.server.daphne.large_bodies import LARGE, LargeBody

INPUT_QUEUE = 32  # frames of a client that may wait for the application
MOST_DROPPED = 8 * 1024 * 1024  # bytes of a body that was refused, after those that may be
_SMALL_PART = 1024  # bytes; a larger part of a message costs its sender as much as us
_TOO_SLOW, _RESTARTING, _TOO_MANY_PARTS = 4409, 1012, 1008


class Socket(WebSocketProtocol):
    """A WebSocket that waits for a slow reader, and stops reading from a client that sends too fast."""

    writable: Writable | None = None
    _paused = False
    _parts = 0  # since `_minute`, which the first of them began
    _minute = float("-inf")

    def onConnect(self, request: Any) -> Any:
        """Accept as daphne does, which loses what follows a `;` in the path and fails if a header is not ASCII."""
        request.path = urlsplit(self.http_request_uri).path
        texts = (request.path, *request.headers, request.headers.get("sec-websocket-protocol", ""))
        if not all(text.isascii() for text in texts):
            raise ConnectionDeny(ConnectionDeny.BAD_REQUEST, "not ASCII")
        return super().onConnect(request)

    def onOpen(self) -> None:
        super().onOpen()
        self.writable = Writable()
        self.transport.unregisterProducer()  # the HTTP channel that this connection began as
        self.transport.registerProducer(self.writable, True)
        self.server.open_connections.count_for_user(self.transport)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self.factory.server_class.open_connections.remove(self.transport)
        super().connectionLost(reason)
        self.is_closed.result = None  # itself: nothing but a search for reference cycles would free it

    def onFrameBegin(self) -> None:
        """Close if there are too many frames that autobahn itself deals with, which no rate of messages counts."""
        frame = self.current_frame
        if (frame.opcode > 7 or (not frame.fin and frame.length < _SMALL_PART)) and self._has_too_many_parts():
            self.sendCloseFrame(code=_TOO_MANY_PARTS, reasonUtf8=b"too many control frames or parts of a message")
            self.dropConnection()
        super().onFrameBegin()

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        """Close with 1009 as autobahn does; its own reason names no setting."""
        super()._max_message_size_exceeded(msg_size, max_msg_size, error_responses.too_large_text())

    def _has_too_many_parts(self) -> bool:
        now = time.monotonic()
        if now >= self._minute + 60:
            self._minute, self._parts = now, 0
        self._parts += 1
        return 0 < settings.FRAMES_PER_MINUTE < self._parts

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        if not self._paused and self.application_queue.qsize() >= INPUT_QUEUE:
            self._paused = True
            self.transport.pauseProducing()

    def took_message(self) -> None:
        """Continue reading if the application has taken enough messages from the queue."""
        if self._paused and self.application_queue.qsize() < INPUT_QUEUE // 2:
            self._paused = False
            self.transport.resumeProducing()

    def serverSend(self, content: Any, binary: bool = False) -> None:
        """Send at once if nothing is buffered: autobahn and Twisted need three more turns of the loop per frame."""
        if binary or self.state != self.STATE_OPEN or self._perMessageCompress is not None:
            super().serverSend(content, binary)
        else:
            write_now(self.transport, text_frame(content.encode()))

    def close_restarting(self) -> None:
        """Close with 1012, which autobahn's public method refuses to send."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=_RESTARTING, reasonUtf8=b"restarting")

    def drop_stalled(self) -> None:
        """Close the connection of a client that does not read."""
        if self.state == self.STATE_OPEN:
            metrics.SLOW_WATCHERS.labels("closed").inc()
            self.sendCloseFrame(code=_TOO_SLOW, reasonUtf8=b"cannot keep up")


class SocketFactory(WebSocketFactory):
    protocol = Socket


class Request(WebRequest):
    """An HTTP request whose body is refused if it is too long, or nobody's: daphne stores it before it asks anybody.

    The refusal is written as soon as the length is known. What the client sends after it is dropped, up to
    MOST_DROPPED more: a connection that closes while data arrives is reset, and the client would not read the refusal.
    """

    _received = 0
    _limit = 0  # bytes of the body
    _is_rejected = False
    _is_complete = False
    _admission: Admission | None = None
    large_body: LargeBody | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Twisted parses a form into `args`, which nobody reads: 1 MiB of small parts stops the event loop for seconds.
        self._parsePOSTFormSubmission = False

    def gotLength(self, length: int | None) -> None:
        self._limit = body_limit(self.channel._path.decode("latin-1")).bytes
        if length is None or length <= self._limit:
            super().gotLength(length)
            self._admit_large(length or 0)
            return
        super().gotLength(0)  # Twisted makes a file for a long body
        self._reject_as_too_large()
        if length > self._limit + MOST_DROPPED:
            self.channel.transport.loseConnection()

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if not self._is_rejected and self._received > self._limit:
            self._reject_as_too_large()
        if not self._is_rejected:
            super().handleContentChunk(data)
            self._admit_large(self._received)
        elif self._received > self._limit + MOST_DROPPED:
            self.channel.transport.loseConnection()

    def _admit_large(self, size: int) -> None:
        """Ask whose the body is if it is large, and its path is one of those that take larger ones than all others."""
        if self._admission is None and size > LARGE and self._limit > settings.MAX_BODY_BYTES:
            self._admission = Admission(self.channel.transport, self.requestHeaders, self._reject)
            self.notifyFinish().addBoth(self._admission.end)

    def process(self) -> Any:
        self._is_complete = True
        if not self._is_rejected:
            # A client could have any path served as another one, past the rules of a proxy about paths.
            self.requestHeaders.removeHeader(b"daphne-root-path")
            self._use_path_of_absolute_form()
            if self._received > LARGE:
                self.large_body, self.content = LargeBody(self.content), BytesIO()  # type: ignore[has-type]
            result = super().process()
            if isinstance(self.channel.transport.protocol, Socket):  # the channel will not hear of its end
                self.channel.requests.remove(self)
            return result
        self.channel.transport.loseConnection()
        return None

    def _use_path_of_absolute_form(self) -> None:
        """Take the host out of a target such as `http://host/path`: RFC 9112 wants it to replace the header Host."""
        uri: bytes = self.uri  # type: ignore[has-type]
        scheme, separator, rest = uri.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            return
        host, slash, target = rest.partition(b"/")
        self.requestHeaders.setRawHeaders(b"host", [host.rpartition(b"@")[2]])
        self.uri = slash + target if slash else b"/"
        self.path = self.uri.partition(b"?")[0]

    def _reject_as_too_large(self) -> None:
        self._reject(error_responses.too_large(self.channel._path.decode("latin-1")))

    def _reject(self, response: HttpResponse) -> None:
        if self._is_rejected or self._is_complete or self.channel is None:  # the connection is lost
            return
        self._is_rejected = True
        self.content.close()
        self.content = BytesIO()
        response = refusals.with_headers(response, self.requestHeaders)
        self.channel.transport.write(refusals.whole(response))

    def basic_error(self, status: int, _status_text: bytes, body: str) -> None:
        """Respond to what does not reach the application in JSON: daphne would in HTML, and without CORS headers."""
        response = refusals.with_headers(refusals.of_server(status, body), self.requestHeaders)
        self.handle_reply({"type": "http.response.start", "status": status, "headers": refusals.header_pairs(response)})
        self.handle_reply({"type": "http.response.body", "body": response.content})


class Channel(HTTPChannel):
    """An HTTP connection with a time for a whole head, and one for a whole request: Twisted's restart with every byte.

    Twisted sets the first timeout when the connection is made, none while a request is answered, and `timeOut` again
    after the response.
    """

    transport: Any
    _is_request_open = False
    _deadline = 0.0  # of the request that is arriving

    def connectionMade(self) -> None:
        super().connectionMade()
        self._connections.add(self.transport, str(getattr(self.transport.getPeer(), "host", "")))
        self._connections.wait(self.transport, self._make_room)
        self._begin_request()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self._connections.remove(self.transport)
        super().connectionLost(reason)

    def resetTimeout(self) -> None:
        if not self._is_request_open:
            self._begin_request()

    def allHeadersReceived(self) -> None:
        self.setTimeout(max(self._deadline - time.monotonic(), 1) if settings.REQUEST_TIMEOUT else None)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        self._connections.stop_waiting(self.transport)
        self.timeOut = settings.REQUEST_TIMEOUT or None  # until the first byte of a next request
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        self._is_request_open = False  # first, because a next request may have arrived already
        self._connections.wait(self.transport, self._make_room)
        super().requestDone(request)
        if not self.persistent:  # it closes as soon as the client has read the response, which it may never do
            self.setTimeout(settings.REQUEST_TIMEOUT or None)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Respond in JSON, as to all else that does not reach Django: Twisted writes a status and nothing more."""
        headers = self.requests[-1].requestHeaders if self.requests else Headers()
        response = refusals.with_headers(refusals.of_server(400, "The request is malformed"), headers)
        self.transport.write(refusals.whole(response))
        self.loseConnection()

    @property
    def _connections(self) -> Connections:
        return self.factory.server.open_connections

    def _make_room(self) -> None:
        if unsent(self):
            self.transport.abortConnection()
        else:
            self.loseConnection()

    def _begin_request(self) -> None:
        self._is_request_open = True
        self._deadline = time.monotonic() + settings.REQUEST_TIMEOUT
        timeouts = filter(None, (settings.REQUEST_HEAD_TIMEOUT, settings.REQUEST_TIMEOUT))
        self.setTimeout(min(timeouts, default=None))

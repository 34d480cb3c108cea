"""daphne's protocols with what they lack: limits, back-pressure, and a cheap send."""

from typing import Any
from urllib.parse import urlsplit

from autobahn.websocket.types import ConnectionDeny
from daphne.http_protocol import WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.web.http import HTTPChannel

from agents_app.observability import metrics
from agents_app.server.daphne.backpressure import Writable, text_frame, write_now

INPUT_QUEUE = 32  # frames of a client that may wait for the application
LARGEST_BODY = 8 * 1024 * 1024
_TOO_SLOW, _RESTARTING = 4409, 1012


class Socket(WebSocketProtocol):
    """A WebSocket that waits for its reader, and stops reading from a writer that is too fast."""

    writable: Writable | None = None
    _paused = False

    def onConnect(self, request: Any) -> Any:
        """As daphne's, which would lose what follows a `;` in the path, and fail at what is not ASCII."""
        request.path = urlsplit(self.http_request_uri).path
        spoken = (request.path, *request.headers, request.headers.get("sec-websocket-protocol", ""))
        if not all(text.isascii() for text in spoken):
            raise ConnectionDeny(ConnectionDeny.BAD_REQUEST, "not ASCII")
        return super().onConnect(request)

    def onOpen(self) -> None:
        super().onOpen()
        self.writable = Writable()
        self.transport.unregisterProducer()  # the HTTP channel that this connection began as
        self.transport.registerProducer(self.writable, True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        if not self._paused and self.application_queue.qsize() >= INPUT_QUEUE:
            self._paused = True
            self.transport.pauseProducing()

    def took_message(self) -> None:
        """The application has taken a message from the queue."""
        if self._paused and self.application_queue.qsize() < INPUT_QUEUE // 2:
            self._paused = False
            self.transport.resumeProducing()

    def serverSend(self, content: Any, binary: bool = False) -> None:
        """Send at once where nothing waits: autobahn and Twisted would take three more turns for each frame."""
        if binary or self.state != self.STATE_OPEN or self._perMessageCompress is not None:
            super().serverSend(content, binary)
        else:
            write_now(self.transport, text_frame(content.encode()))

    def close_restarting(self) -> None:
        """Say 1012, which autobahn's public call refuses to send."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=_RESTARTING, reasonUtf8=b"restarting")

    def drop_stalled(self) -> None:
        """Give up on a client that does not read."""
        if self.state == self.STATE_OPEN:
            metrics.SLOW_WATCHERS.labels("closed").inc()
            self.sendCloseFrame(code=_TOO_SLOW, reasonUtf8=b"cannot keep up")


class SocketFactory(WebSocketFactory):
    protocol = Socket


_TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    b'{"error":{"message":"The body is too large.","type":"invalid_request_error","param":null,"code":"too_large"}}'
)


class Request(WebRequest):
    """An HTTP request whose body ends at LARGEST_BODY: daphne would store any length before anybody is asked."""

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > LARGEST_BODY:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        if self.content.tell() + len(data) > LARGEST_BODY:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def _refuse(self) -> None:
        transport = self.channel.transport
        transport.write(_TOO_LARGE)
        transport.loseConnection()


class Channel(HTTPChannel):
    """An HTTP connection whose patience is for a whole request: Twisted's begins anew with every byte that trickles."""

    _begun = False

    def resetTimeout(self) -> None:
        if not self._begun:
            self._begun = True
            super().resetTimeout()

    def requestDone(self, request: Any) -> None:
        super().requestDone(request)
        self._begun = False

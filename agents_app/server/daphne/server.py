"""daphne with what it lacks: backpressure both ways, a cheap send, and an orderly end.

Figures and reasons: DESIGN, decision 12. Everything here is a subclass of daphne's own classes; the application runs
under stock daphne too.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from daphne.server import Server as DaphneServer
from django.conf import settings

from daphne.server import twisted_loop  # isort: skip — this import installs the event loop
from autobahn.websocket.types import ConnectionDeny
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor as _reactor
from twisted.internet import tcp
from twisted.web.http import HTTPChannel

from agents_app.observability import metrics

logger = logging.getLogger(__name__)
reactor: Any = _reactor

STALLED = 100.0  # seconds that a client may leave its socket unread
INPUT_QUEUE = 32  # frames of a client that may wait for the application
LARGEST_BODY = 8 * 1024 * 1024
CLOSE_PATIENCE = 1.0
_TOO_SLOW, _RESTARTING = 4409, 1012


class Writable:
    """Twisted's push producer: tells when a transport's buffer is full, and when it has emptied."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.ready.set()

    def pauseProducing(self) -> None:
        self.ready.clear()

    def resumeProducing(self) -> None:
        self.ready.set()

    def stopProducing(self) -> None:
        self.ready.set()


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
            _write_now(self.transport, _text_frame(content.encode()))

    def close_restarting(self) -> None:
        """Say 1012, which autobahn's public call refuses to send."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=_RESTARTING, reasonUtf8=b"restarting")

    def drop_stalled(self) -> None:
        """Give up on a client that does not read."""
        if self.state == self.STATE_OPEN:
            metrics.SLOW_WATCHERS.labels("closed").inc()
            self.sendCloseFrame(code=_TOO_SLOW, reasonUtf8=b"cannot keep up")


def _text_frame(payload: bytes) -> bytes:
    """An unmasked text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def _write_now(transport: Any, data: bytes) -> None:
    idle = type(transport) is tcp.Server and transport.connected and not transport.disconnecting
    if idle and not transport.dataBuffer and not transport._tempDataBuffer:
        try:
            sent = transport.socket.send(data)
        except OSError:  # full, or gone: Twisted knows what to do about either
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


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


class Server(DaphneServer):
    """daphne's server, with a beginning and an end: `on_start` and `on_stop` run on its loop."""

    def __init__(
        self,
        application: Callable[..., Awaitable[None]],
        *,
        on_start: Callable[[], Awaitable[None]],
        on_ready: Callable[[], None],
        on_stop: Callable[[], Awaitable[None]],
        **options: Any,
    ) -> None:
        super().__init__(_telling_when_taken(application), signal_handlers=False, **options)
        self._on_start = on_start
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._ports: list[Any] = []
        self._stopping = False
        self.failed = False

    def run(self) -> None:
        """Serve until a signal ends it: the first drains, the second forces."""
        twisted_loop.call_soon(self._begin)
        super().run()

    def _begin(self) -> None:
        self.http_factory.buildProtocol = self._build_http
        self.http_factory.protocol = Channel
        self.http_factory.timeOut = settings.REQUEST_TIMEOUT
        self.ws_factory = SocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
            failByDrop=False,  # so that a frame that is too large is answered with 1009
        )
        for name in (signal.SIGTERM, signal.SIGINT):
            twisted_loop.add_signal_handler(name, self._signalled)
        self._starting = twisted_loop.create_task(self._start())

    def _build_http(self, address: Any) -> Any:
        protocol = HTTPFactory.buildProtocol(self.http_factory, address)
        protocol.requestFactory = Request
        return protocol

    async def _start(self) -> None:
        try:
            await self._on_start()
            self._on_ready()
        except Exception:
            logger.exception("The server could not start")
            self.failed = True
            reactor.stop()

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self._ports.append(port)

    def listen_error(self, failure: Any) -> None:
        self.failed = True
        super().listen_error(failure)

    def _signalled(self) -> None:
        if self._stopping:
            logger.warning("Forced to stop")
            os._exit(1)
        self._stopping = True
        self._draining = twisted_loop.create_task(self._drain())

    async def _drain(self) -> None:
        logger.info("Stopping: runs are handed back, sockets are closed")
        try:
            for port in self._ports:
                port.stopListening()
            await self._on_stop()
            await self._close_sockets()
        except Exception:
            logger.exception("Something went wrong while stopping")
        finally:
            reactor.stop()

    async def _close_sockets(self) -> None:
        for protocol in list(self.connections):
            if isinstance(protocol, Socket):
                protocol.close_restarting()
        deadline = time.monotonic() + CLOSE_PATIENCE
        while time.monotonic() < deadline and any(not task.done() for task in self._applications()):
            await asyncio.sleep(0.02)

    def _applications(self) -> list["asyncio.Future[None]"]:
        instances = [details.get("application_instance") for details in self.connections.values()]
        return [instance for instance in instances if instance is not None]

    def kill_all_applications(self) -> Any:
        """As daphne's, for connections that have no application any more as well."""
        for protocol, details in list(self.connections.items()):
            if "application_instance" not in details:
                del self.connections[protocol]
        return super().kill_all_applications()

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        writable = getattr(protocol, "writable", None)
        if writable is not None and not writable.ready.is_set():
            try:
                async with asyncio.timeout(STALLED):
                    await writable.ready.wait()
            except TimeoutError:
                protocol.drop_stalled()
                return
        elif writable is None and message["type"] == "http.response.body":
            await _http_writable(protocol)
        await super().handle_reply(protocol, message)


async def _http_writable(protocol: Any) -> None:
    """Wait while an HTTP client leaves its response unread; Twisted keeps everything in memory otherwise."""
    deadline = time.monotonic() + STALLED
    while _unsent(protocol) > 256 * 1024:
        if time.monotonic() > deadline:
            protocol.channel.transport.abortConnection()
            return
        await asyncio.sleep(0.05)


def _unsent(protocol: Any) -> int:
    channel = getattr(protocol, "channel", None)
    transport = getattr(channel, "transport", None)
    transport = getattr(transport, "_producer", transport)  # HTTPChannel wraps it
    return len(getattr(transport, "dataBuffer", b"")) + getattr(transport, "_tempDataLen", 0)


def _telling_when_taken(application: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Let a socket know when the application has taken one of its messages."""

    async def told(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        protocol = send.args[0]  # daphne: partial(handle_reply, protocol)

        async def receive_and_tell() -> Any:
            message = await receive()
            if isinstance(protocol, Socket):
                protocol.took_message()
            return message

        await application(scope, receive_and_tell, send)

    return told

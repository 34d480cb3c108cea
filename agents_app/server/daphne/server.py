"""daphne's server with an orderly start and end."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from daphne.http_protocol import HTTPFactory
from daphne.server import Server as DaphneServer
from daphne.server import twisted_loop
from django.conf import settings
from twisted.internet import reactor as _reactor

from agents_app.server import descriptors
from agents_app.server.daphne.backpressure import STALLED, http_writable
from agents_app.server.daphne.connections import Connections, pause_without_descriptors
from agents_app.server.daphne.protocols import Channel, Request, Socket, SocketFactory

logger = logging.getLogger(__name__)
reactor: Any = _reactor

CLOSE_PATIENCE = 1.0  # seconds
# Seconds; autobahn's one second is short for a slow client, whom the reset that follows robs of the close code.
CLOSE_HANDSHAKE_TIMEOUT = 5


class Server(DaphneServer):
    """daphne's server with a start and an end: `on_start` and `on_stop` run on its loop."""

    def __init__(
        self,
        application: Callable[..., Awaitable[None]],
        *,
        on_start: Callable[[], Awaitable[None]],
        on_ready: Callable[[], None],
        on_stop: Callable[[], Awaitable[None]],
        **options: Any,
    ) -> None:
        super().__init__(_with_messages_as_taken(application), signal_handlers=False, **options)
        self._on_start = on_start
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._ports: list[Any] = []
        self._stopping = False
        self.failed = False
        room = descriptors.room_for_connections()
        self.open_connections = Connections(
            most=min(settings.CONNECTIONS_PER_PROCESS or room, room),
            most_per_address=settings.CONNECTIONS_PER_ADDRESS,
        )

    def run(self) -> None:
        """Serve until a signal: the first drains, the second exits at once."""
        twisted_loop.call_soon(self._begin)
        super().run()

    def _begin(self) -> None:
        self.http_factory.buildProtocol = self._build_http
        self.http_factory.protocol = Channel
        self.http_factory.timeOut = settings.REQUEST_TIMEOUT or None
        self.ws_factory = SocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=settings.MAX_BODY_BYTES,
            maxFramePayloadSize=settings.MAX_BODY_BYTES,
            closeHandshakeTimeout=CLOSE_HANDSHAKE_TIMEOUT,
            failByDrop=False,  # so that a frame that is too large is answered with 1009
        )
        for name in (signal.SIGTERM, signal.SIGINT):
            twisted_loop.add_signal_handler(name, self._signalled)
        self._starting = twisted_loop.create_task(self._start())

    def _build_http(self, address: Any) -> Any:
        """Return the protocol of a new connection; None to close it before anything is read."""
        if not self.open_connections.admit(str(getattr(address, "host", ""))):
            return None
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
        pause_without_descriptors(port, reactor.callLater)

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
            logger.exception("Error while stopping")
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
        """Kill as daphne does, which fails if a connection has no application any more."""
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
            await http_writable(protocol)
        await super().handle_reply(protocol, message)


def _with_messages_as_taken(application: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Notify a socket when the application has taken one of its messages, and read a large body as it is taken."""

    async def with_messages_as_taken(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        protocol = send.args[0]  # daphne: partial(handle_reply, protocol)

        async def receive_and_notify() -> Any:
            message = await receive()
            protocol.took_message()
            return message

        if isinstance(protocol, Socket):
            await application(scope, receive_and_notify, send)
        elif body := protocol.large_body:
            try:
                await application(scope, body.receive_by(receive), send)
            finally:
                body.close()
        else:
            await application(scope, receive, send)

    return with_messages_as_taken

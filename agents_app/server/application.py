"""The ASGI application of a serving process."""

from collections.abc import Awaitable, Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from agents_app.server.process import Process

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """Serve `router`, and start the process first.

    `manage.py serve` starts the process itself. Under another ASGI server its lifespan messages do, or else the first
    request.
    """

    def __init__(self, router: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.process = Process()
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if not self.process.is_started:
            try:
                await self.process.start()
            except ImproperlyConfigured as error:
                await _reject(scope, receive, send, str(error))
                return
        await self._router(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.process.start()
                except ImproperlyConfigured as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.process.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _reject(scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": reason.encode()})

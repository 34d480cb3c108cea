"""The application, for `manage.py serve` and for any ASGI server."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler_project.settings")
http = get_asgi_application()

# These need Django's set-up above.
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402

from agents_app import mcp_server  # noqa: E402
from agents_app.observability import asgi  # noqa: E402
from agents_app.server import lifecycle  # noqa: E402
from chat_app.websocket.routing import websocket_urlpatterns  # noqa: E402


async def http_or_mcp(scope, receive, send):
    """MCP's own server answers at its address; Django at all others."""
    await (mcp_server.application if mcp_server.is_ours(scope) else http)(scope, receive, send)


router = asgi.tracked(ProtocolTypeRouter({"http": http_or_mcp, "websocket": URLRouter(websocket_urlpatterns)}))


async def application(scope, receive, send):
    """Start the worker with the first request; a server that speaks lifespan starts and stops it properly."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    try:
        await lifecycle.start()
    except ImproperlyConfigured as error:
        await _refuse(scope, receive, send, str(error))
        return
    await router(scope, receive, send)


async def _lifespan(receive, send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await lifecycle.start()
            except ImproperlyConfigured as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
        else:
            await lifecycle.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _refuse(scope, receive, send, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": reason.encode()})

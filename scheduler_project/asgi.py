"""The application, for `manage.py serve` and for any ASGI server."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler_project.settings")
http = get_asgi_application()

# These need Django's set-up above.
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from agents_app import mcp_server  # noqa: E402
from agents_app.observability import asgi  # noqa: E402
from agents_app.server.application import Application  # noqa: E402
from agents_app.server.local_only import local_only  # noqa: E402
from chat_app.websocket.routing import websocket_urlpatterns  # noqa: E402


async def http_or_mcp(scope, receive, send):
    """Answer as the MCP server at its address, and as Django at all others."""
    await (mcp_server.application if mcp_server.is_ours(scope) else http)(scope, receive, send)


router = ProtocolTypeRouter({"http": http_or_mcp, "websocket": URLRouter(websocket_urlpatterns)})
application = Application(asgi.instrument(local_only(router)))

"""/, /v1/info and /v1/schema."""

from django.conf import settings
from django.http import HttpResponseBase, HttpResponseRedirect
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api.base import JSONView
from agents_app.api.documents import Document
from agents_app.api.pagination import LARGEST_LIMIT
from agents_app.api.protocol import PROTOCOL_VERSION
from agents_app.api.serializers.info import InfoSerializer, RootSerializer

ENDPOINTS = {
    "chat_completions": "/v1/chat/completions",
    "models": "/v1/models",
    "responses": "/v1/responses",
    "agents": "/v1/agents",
    "tasks": "/v1/tasks",
    "websocket": "/ws/chat/{session_id}",
    "mcp": "/mcp",
    "runs": "/v1/runs",
    "sessions": "/v1/sessions",
    "tokens": "/v1/tokens",
    "ws_tickets": "/v1/ws-tickets",
    "providers": "/v1/providers",
    "mcp_servers": "/v1/mcp-servers",
    "info": "/v1/info",
    "schema": "/v1/schema",
    "docs": "/v1/docs",
    "health": "/health",
    "readiness": "/readyz",
    "chat": "/chat/",
    "admin": "/admin/",
}


class PublicView(JSONView):
    """A view without authentication: it returns nobody's data."""

    authentication_classes = ()
    permission_classes = ()


class RootView(PublicView):
    """List the endpoints, or redirect a browser to the chat page."""

    @extend_schema(responses=RootSerializer)
    def get(self, request: Request) -> HttpResponseBase:
        if request.get_preferred_type(["application/json", "text/html"]) == "text/html":
            return HttpResponseRedirect("/chat/")
        return Response(
            {
                "name": settings.PRODUCT_NAME,
                "version": settings.VERSION,
                "status": "running",
                "endpoints": ENDPOINTS,
            }
        )


class InfoView(PublicView):
    """Return the capabilities and limits of this version."""

    @extend_schema(responses=InfoSerializer)
    def get(self, request: Request) -> Response:
        return Response(
            {
                "name": settings.PRODUCT_NAME,
                "version": settings.VERSION,
                "protocol": PROTOCOL_VERSION,
                "mode": "embedded" if settings.EMBEDDED else "distributed",
                "auth_required": settings.AUTH_REQUIRED,
                "capabilities": {
                    "chat": True,
                    "reasoning": True,
                    "builtin_tools": True,
                    "event_streams": True,
                    "mcp_servers": True,
                    "approvals": True,
                    "client_tools": True,
                    "tasks": True,
                    "chat_completions": True,
                    "files": True,
                },
                "limits": {
                    "message_characters": settings.MAX_MESSAGE_CHARACTERS,
                    "body_bytes": settings.MAX_BODY_BYTES,
                    "file_bytes": settings.FILES_MAX_BYTES,
                    "list_items": LARGEST_LIMIT,
                    "chats_per_minute": settings.CHAT_RATE_PER_MINUTE,
                },
            }
        )


def _schema() -> object:
    return SchemaGenerator().get_schema(request=None, public=True)


_schema_document = Document(_schema, "application/vnd.oai.openapi+json")


class SchemaView(JSONView):
    """Return the API as OpenAPI 3.1 in JSON."""

    permission_classes = ()
    schema = None  # type: ignore[assignment] # it does not describe itself

    def get(self, request: Request) -> HttpResponseBase:
        return _schema_document.response(request._request)

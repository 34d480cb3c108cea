"""/v1/mcp-servers, for administrators only."""

from asgiref.sync import async_to_sync
from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.access import open_connections, policies
from agents_app.api import tool_calls
from agents_app.api.base import CrudViewSet
from agents_app.api.permissions import IsAdministrator
from agents_app.api.schema import EVENT
from agents_app.api.serializers.mcp_servers import (
    McpServerSerializer,
    OutcomeSerializer,
    ServerCheckSerializer,
    ToolCallSerializer,
    ToolListSerializer,
    ToolSerializer,
)
from agents_app.api.serializers.policies import PolicySerializer
from agents_app.exceptions import InUse
from agents_app.integrations import mcp_servers
from agents_app.models import McpServer

TOOL = OpenApiParameter("tool", str, OpenApiParameter.PATH, description="The tool's own name.")


class McpServerViewSet(CrudViewSet):
    """MCP servers: servers of tools. Secrets are write-only."""

    queryset = McpServer.objects.all()
    serializer_class = McpServerSerializer
    permission_classes = (IsAuthenticated, IsAdministrator)
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    ordering_fields = ("name", "-name", "created_at", "-created_at")

    def perform_destroy(self, server: McpServer) -> None:
        """Delete the server. If an agent uses it, it is a 409."""
        if names := server.used_by():
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise InUse(f"It is in use by: {', '.join(names[:5])}{more}.")
        server.delete()

    @extend_schema(request=None, responses={200: ServerCheckSerializer})
    @action(detail=True, methods=["post"])
    def check(self, request: Request, name: str) -> Response:
        """Check the server and list its tools. If it does not work, `ok` is false."""
        [report] = mcp_servers.check([self.get_object()])
        return Response(ServerCheckSerializer(report).data)

    @extend_schema(responses={200: PolicySerializer})
    @action(detail=True)
    def policy(self, request: Request, name: str) -> Response:
        """Tell what the server may reach, and who may reach it."""
        server = self.get_object()
        return Response(PolicySerializer({"name": server.name, "rules": policies.of_server(server)}).data)

    @extend_schema(operation_id="mcp_servers_tools_list", responses={200: ToolListSerializer})
    @action(detail=True)
    def tools(self, request: Request, name: str) -> Response:
        """List the current tools. 503 if the server does not answer, 409 if it is disabled."""
        tools = ToolSerializer(mcp_servers.tools(self.get_object()), many=True)
        return Response({"object": "list", "data": tools.data, "has_more": False, "next": None})

    @extend_schema(
        request=ToolCallSerializer,
        parameters=[TOOL],
        responses={(200, "application/json"): OutcomeSerializer, (200, "text/event-stream"): EVENT},
    )
    @action(detail=True, methods=["post"], url_path="tools/(?P<tool>.+)/call")
    def call_tool(self, request: Request, name: str, tool: str) -> HttpResponseBase:
        """Call a tool. A client that disconnects cancels the call.

        A stream of server-sent events has `progress` with `text` for each progress message of the tool, then `result`
        with the JSON response, or `error`.
        """
        body = ToolCallSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        call = mcp_servers.prepare(self.get_object(), tool, body.validated_data["arguments"])
        if request.get_preferred_type(["application/json", "text/event-stream"]) == "text/event-stream":
            return tool_calls.stream_call(call, open_connections.take(request.user))
        return Response(OutcomeSerializer(async_to_sync(call.make)()).data)

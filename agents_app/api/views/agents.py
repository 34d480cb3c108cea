"""/v1/agents."""

from typing import Any, cast

from django.db import transaction
from django.db.models import Prefetch
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api import idempotency
from agents_app.api.base import CrudViewSet
from agents_app.api.links import accepted_response
from agents_app.api.permissions import IsAdministratorOrReads
from agents_app.api.serializers.agents import AgentSerializer
from agents_app.api.serializers.runs import AcceptedSerializer, StartSerializer
from agents_app.exceptions import InUse
from agents_app.models import Agent, McpServer
from agents_app.models.agent_versions import one_version
from agents_app.models.agents import AgentQuerySet


class AgentViewSet(CrudViewSet):
    """Agents: a prompt, a model and tools under a name."""

    queryset = Agent.objects.select_related("provider").prefetch_related(
        Prefetch("mcp_servers", McpServer.objects.only("name")),  # without decrypting their secrets
        "allowed_users",
        "allowed_groups",
    )
    serializer_class = AgentSerializer
    permission_classes = (IsAuthenticated, IsAdministratorOrReads)
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    ordering_fields = ("name", "-name", "created_at", "-created_at")

    def get_queryset(self) -> Any:
        return cast(AgentQuerySet, super().get_queryset()).visible_to(self.request.user)

    def perform_create(self, serializer: Any) -> None:
        with one_version(by=self.request.user):
            super().perform_create(serializer)

    def perform_update(self, serializer: Any) -> None:
        with one_version(by=self.request.user):
            super().perform_update(serializer)

    @transaction.atomic
    def perform_destroy(self, agent: Agent) -> None:
        """Delete the agent. Finished runs keep its name; with unfinished runs it is a 409."""
        if agent.runs.unfinished().exists():
            raise InUse(f"The agent {agent.name!r} has unfinished runs: cancel them first.")
        agent.delete()

    @extend_schema(request=StartSerializer, responses={202: AcceptedSerializer}, parameters=[idempotency.HEADER])
    @action(detail=True, methods=["post"], url_path="runs", permission_classes=(IsAuthenticated,))
    def start_run(self, request: Request, name: str) -> Response:
        """Start a run in the background. A disabled agent, like an unknown one, is a 404."""
        body = StartSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        run = idempotency.start(request, agent_name=name, options=body.validated_data)
        return accepted_response(request, run)

"""/v1/agents."""

import re
from typing import Any, cast

from django.db import transaction
from django.db.models import Prefetch
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.access import policies
from agents_app.api import idempotency
from agents_app.api.base import CrudViewSet
from agents_app.api.links import accepted_response
from agents_app.api.permissions import IsEditor, MayEditAgents
from agents_app.api.serializers.agents import AgentSerializer
from agents_app.api.serializers.policies import PolicySerializer
from agents_app.api.serializers.runs import AcceptedSerializer, StartSerializer
from agents_app.exceptions import Conflict, InUse, InvalidRequest
from agents_app.models import Agent, FallbackModel, McpServer
from agents_app.models.agent_versions import one_version
from agents_app.models.agents import AgentQuerySet

IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description='The `ETag` that you read, such as `"3"`, else a 409.'
)


def with_etag(response: Response) -> Response:
    """Add the agent's version as ETag."""
    response["ETag"] = f'"{response.data["version"]}"'
    return response


def _if_match(request: Request) -> int | None:
    """Return the version that the client expects; None if any will do.

    Raises:
        InvalidRequest: the header is not the ETag of an agent.
    """
    text = request.headers.get("If-Match", "*").strip()
    if text == "*":
        return None
    match = re.fullmatch(r'(?:W/)?"([0-9]{1,9})"', text, re.ASCII)
    if match is None:
        raise InvalidRequest("'If-Match' must be the ETag of an agent, such as \"3\".", param="If-Match")
    return int(match[1])


class AgentViewSet(CrudViewSet):
    """Agents: a prompt, a model and tools under a name."""

    queryset = (
        Agent.objects.select_related("provider", "current_version", "owner")
        .defer("current_version__spec")
        .prefetch_related(
            Prefetch("mcp_servers", McpServer.objects.only("name")),  # without decrypting their secrets
            Prefetch(
                "fallback_models",
                FallbackModel.objects.select_related("provider").only("agent", "model", "accepts", "provider__name"),
            ),
            "allowed_users",
            "allowed_groups",
        )
    )
    serializer_class = AgentSerializer
    permission_classes = (IsAuthenticated, MayEditAgents)
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    ordering_fields = ("name", "-name", "created_at", "-created_at")

    def get_queryset(self) -> Any:
        agents = cast(AgentQuerySet, super().get_queryset()).visible_to(self.request.user)
        is_change = self.action in ("update", "partial_update")
        return agents.select_for_update(of=("self",)) if is_change else agents

    def perform_create(self, serializer: Any) -> None:
        with one_version(by=self.request.user):
            super().perform_create(serializer)

    def perform_update(self, serializer: Any) -> None:
        self._check_version(serializer)
        with one_version(by=self.request.user):
            super().perform_update(serializer)

    def _check_version(self, serializer: Any) -> None:
        """Reject a change of another version than the client has read.

        Raises:
            Conflict: somebody was quicker.
        """
        agent = serializer.instance
        present = agent.current_version.number if agent.current_version else None
        for expected in (serializer.expected_version, _if_match(self.request)):
            if expected not in (None, present):
                text = f"The agent {agent.name!r} has version {present} now, not {expected}: read it again."
                raise Conflict(text, code="version_conflict")

    @extend_schema(parameters=[IF_MATCH])
    @transaction.atomic
    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change the agent, whose row is locked."""
        return with_etag(super().update(request, *args, **kwargs))

    @extend_schema(parameters=[IF_MATCH])
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().partial_update(request, *args, **kwargs)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return with_etag(super().retrieve(request, *args, **kwargs))

    @transaction.atomic
    def perform_destroy(self, agent: Agent) -> None:
        """Delete the agent. Finished runs keep its name; with unfinished runs it is a 409."""
        if agent.runs.unfinished().exists():
            raise InUse(f"The agent {agent.name!r} has unfinished runs: cancel them first.")
        agent.delete()

    @extend_schema(responses={200: PolicySerializer})
    @action(detail=True, permission_classes=(IsAuthenticated, IsEditor))
    def policy(self, request: Request, name: str) -> Response:
        """Tell what the agent may do and reach, to those who may change it."""
        agent = self.get_object()
        rules = policies.of_agent(agent, request.user)
        return Response(PolicySerializer({"name": agent.name, "rules": rules}).data)

    @extend_schema(request=StartSerializer, responses={202: AcceptedSerializer}, parameters=[idempotency.HEADER])
    @action(detail=True, methods=["post"], url_path="runs", permission_classes=(IsAuthenticated,))
    def start_run(self, request: Request, name: str) -> Response:
        """Start a run in the background. A disabled agent, like an unknown one, is a 404."""
        body = StartSerializer(data=request.data, context={"request": request})
        body.is_valid(raise_exception=True)
        run = idempotency.start(request, agent_name=name, options=body.validated_data)
        return accepted_response(request, run)

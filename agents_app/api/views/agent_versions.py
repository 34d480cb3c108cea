"""/v1/agents/{name}/versions."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView, get_object_or_404
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api import audit
from agents_app.api.base import JSONView
from agents_app.api.permissions import MayEditAgents
from agents_app.api.serializers.agent_versions import (
    ActivateSerializer,
    DraftSerializer,
    VersionSerializer,
    WholeVersionSerializer,
)
from agents_app.api.serializers.agents import AgentSerializer
from agents_app.api.views.agents import with_etag
from agents_app.models import Agent, AgentVersion, agent_drafts


class _VersionsView(JSONView, GenericAPIView):
    """Versions of an agent that the user may use."""

    queryset = AgentVersion.objects.select_related("agent", "created_by")
    permission_classes = (IsAuthenticated, MayEditAgents)
    lookup_field = "number"

    def get_queryset(self) -> QuerySet[AgentVersion]:
        agent = get_object_or_404(Agent.objects.visible_to(self.request.user), name=self.kwargs["name"])
        return super().get_queryset().filter(agent=agent)


class AgentVersionsView(_VersionsView, ListAPIView):
    """List the versions of an agent, newest first."""

    serializer_class = VersionSerializer
    ordering_fields = ("-number", "number")

    def get_queryset(self) -> QuerySet[AgentVersion]:
        return super().get_queryset().defer("spec")


class AgentVersionView(_VersionsView, RetrieveAPIView):
    """Return a version of an agent."""

    serializer_class = WholeVersionSerializer


class ActivateVersionView(_VersionsView, RetrieveAPIView):
    """Make a version the present one again."""

    http_method_names = ("post",)
    serializer_class = WholeVersionSerializer

    @extend_schema(request=ActivateSerializer, responses={200: AgentSerializer})
    def post(self, request: Request, **_: Any) -> Response:
        """Give the agent the spec of this version, as a new version. If it has that spec already, nothing changes."""
        body = ActivateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        with transaction.atomic():
            version = self.get_object()
            agent = version.agent
            agent.activate(version, by=request.user, **body.validated_data)
            audit.record(request.user, agent, audit.CHANGE, ["version"])
        return with_etag(Response(AgentSerializer(agent, context={"request": request}).data))


class AgentDraftView(_VersionsView):
    """An agent as its editor is about to change it, to try before it is saved."""

    http_method_names = ("put",)
    serializer_class = AgentSerializer

    @extend_schema(responses={200: DraftSerializer})
    def put(self, request: Request, name: str) -> Response:
        """Keep the changes as your draft, instead of the one before. A message to `name@draft` is answered by it.

        The body has the fields that differ from the agent. Nobody else can use the draft.
        """
        agent = get_object_or_404(Agent.objects.visible_to(request.user), name=name)
        self.check_object_permissions(request, agent)
        body = self.get_serializer(agent, data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        agent_drafts.keep(agent, body.validated_data, by=request.user)
        return Response({"agent_name": agent_drafts.name_of(agent)})

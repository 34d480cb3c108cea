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
from agents_app.api.permissions import IsAdministratorOrReads
from agents_app.api.serializers.agent_versions import ActivateSerializer, VersionSerializer, WholeVersionSerializer
from agents_app.api.serializers.agents import AgentSerializer
from agents_app.api.views.agents import with_etag
from agents_app.models import Agent, AgentVersion


class _VersionsView(JSONView, GenericAPIView):
    """Versions of an agent that the user may use."""

    queryset = AgentVersion.objects.select_related("agent", "created_by")
    permission_classes = (IsAuthenticated, IsAdministratorOrReads)
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

"""/v1/runs: prompts answered, being answered, or waiting to be."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.generics import ListAPIView, get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app import runs
from agents_app.api import events
from agents_app.api.base import JSONView
from agents_app.api.docs import EVENTS
from agents_app.api.serializers import RunSerializer, StepSerializer
from agents_app.exceptions import InvalidRequest
from agents_app.models import Run, Session, Step

NEWEST_FIRST = ("-created_at", "created_at")
FILTERS = {"status": "status", "agent": "agent_name", "session": "session_id", "trigger": "trigger"}
CHOICES = {"status": Run.Status.values, "trigger": Run.Trigger.values}


def filtered(queryset: QuerySet[Run], request: Request) -> QuerySet[Run]:
    """The runs that the query asks for.

    Raises:
        InvalidRequest: a value that no run can have.
    """
    for name, column in FILTERS.items():
        if value := request.query_params.get(name):
            known = CHOICES.get(name, [value])
            if value not in known:
                raise InvalidRequest(f"'{name}' must be one of: {', '.join(known)}.", param=name)
            queryset = queryset.filter(**{column: value})
    return queryset


def _filter(name: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, enum=CHOICES.get(name), description=f"Only runs of this {name}.")


class RunViewSet(JSONView, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Runs: one prompt each."""

    queryset = Run.objects.all()
    serializer_class = RunSerializer
    lookup_value_converter = "uuid"
    ordering_fields = NEWEST_FIRST

    def get_queryset(self) -> Any:
        return Run.objects.visible_to(self.request.user).select_related("session")

    def filter_queryset(self, queryset: Any) -> Any:
        return filtered(queryset, self.request) if self.action == "list" else queryset

    @extend_schema(parameters=[_filter(name) for name in FILTERS])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=None, responses={202: RunSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: Any) -> Response:
        """Stop the run: a queued one has ended with this answer, a running one ends in a moment."""
        run = self.get_object()
        runs.cancel(run, by=request.user.get_username())
        run.refresh_from_db()
        return Response(self.get_serializer(run).data, status=202)

    @extend_schema(**EVENTS)
    @action(detail=True)
    def events(self, request: Request, pk: Any):
        """The run's frames: a page of JSON, or a stream of server-sent events that ends with the run."""
        return events.run_events(request, self.get_object())


class RunStepsView(JSONView, ListAPIView):
    """The steps of a run, in order."""

    queryset = Step.objects.all()
    serializer_class = StepSerializer
    ordering_fields = ("index", "-index")

    def get_queryset(self) -> QuerySet[Step]:
        run = get_object_or_404(Run.objects.visible_to(self.request.user), pk=self.kwargs["pk"])
        return super().get_queryset().filter(run=run)


class SessionRunsView(JSONView, ListAPIView):
    """The runs of a session, oldest first."""

    queryset = Run.objects.all()
    serializer_class = RunSerializer
    ordering_fields = ("number", "-number")

    def get_queryset(self) -> QuerySet[Run]:
        session = get_object_or_404(Session.objects.visible_to(self.request.user), pk=self.kwargs["pk"])
        return super().get_queryset().filter(session=session)

"""/v1/runs, with their steps, events, approvals and files."""

import uuid
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.generics import ListAPIView, get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app import runs
from agents_app.api import event_pages, idempotency
from agents_app.api.base import JSONView
from agents_app.api.examples import EVENTS
from agents_app.api.serializers.approvals import ApprovalSerializer, ApproveSerializer
from agents_app.api.serializers.files import FileSerializer
from agents_app.api.serializers.runs import RegenerateSerializer, RunSerializer, SelectSerializer, StepSerializer
from agents_app.api.views.files import content_response
from agents_app.exceptions import Conflict, InvalidRequest
from agents_app.models import Approval, File, Run, Session, Step
from agents_app.runs import approvals, branches

NEWEST_FIRST = ("-created_at", "created_at")
FILTERS = {
    "status": "status",
    "agent": "agent_name",
    "trigger": "trigger",
    "task": "task_id",
}
SESSION = "session"
CHOICES = {"status": Run.Status.values, "trigger": Run.Trigger.values}


def filter_runs(queryset: QuerySet[Run], request: Request) -> QuerySet[Run]:
    """Return the runs that match the query.

    Raises:
        InvalidRequest: no run can have such a value.
    """
    for name, column in FILTERS.items():
        if value := request.query_params.get(name):
            allowed = CHOICES.get(name, [value])
            if value not in allowed:
                raise InvalidRequest(f"'{name}' must be one of: {', '.join(allowed)}.", param=name)
            if name == "task" and not _is_uuid(value):
                raise InvalidRequest("'task' must be the id of a task.", param=name)
            queryset = queryset.filter(**{column: value})
    if value := request.query_params.get(SESSION):
        queryset = queryset.filter(session=Session.objects.find(request.user, value))
    return queryset


def _is_uuid(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


def _filter(name: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, enum=CHOICES.get(name), description=f"Only runs of this {name}.")


class RunViewSet(JSONView, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Runs: one prompt and its answer each."""

    queryset = Run.objects.all()
    serializer_class = RunSerializer
    lookup_value_converter = "uuid"
    ordering_fields = NEWEST_FIRST

    def get_queryset(self) -> Any:
        return Run.objects.visible_to(self.request.user).to_answer()

    def filter_queryset(self, queryset: Any) -> Any:
        return filter_runs(queryset, self.request) if self.action == "list" else queryset

    @extend_schema(parameters=[_filter(name) for name in (*FILTERS, SESSION)])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=None, responses={202: RunSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: Any) -> Response:
        """Cancel the run. A queued run has ended with this response, a running one ends soon after."""
        run = self.get_object()
        runs.cancel(run, by=request.user.get_username())
        run.refresh_from_db()
        return Response(self.get_serializer(run).data, status=202)

    @extend_schema(request=RegenerateSerializer, responses={202: RunSerializer}, parameters=[idempotency.HEADER])
    @action(detail=True, methods=["post"])
    def regenerate(self, request: Request, pk: Any) -> Response:
        """Start another version of the run: of the same message, or of an edited one. It replaces this one."""
        body = RegenerateSerializer(data=request.data, context={"request": request})
        body.is_valid(raise_exception=True)
        options = body.validated_data
        place = branches.find(request.user, pk, options.pop("session_id", None))
        if key := idempotency.key_hash(request):
            options.setdefault("message_id", f"key-{key}")
        started = branches.regenerate(place, user=request.user, trigger=Run.Trigger.API, **options)
        if not started.created and started.run.replaces != place.run.pk:
            raise Conflict("This id was used for another message.", code="message_id_reused")
        return Response(self.get_serializer(started.run).data, status=202)

    @extend_schema(request=SelectSerializer, responses={200: RunSerializer})
    @action(detail=True, methods=["post"])
    def select(self, request: Request, pk: Any) -> Response:
        """Make the run the current one of its versions. The session's history leads through it from now on."""
        body = SelectSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        place = branches.find(request.user, pk, body.validated_data.get("session_id"))
        branches.select(place, user=request.user)
        return Response(self.get_serializer(place.run).data)

    @extend_schema(request=ApproveSerializer, responses={202: RunSerializer})
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: Any) -> Response:
        """Approve or deny a waiting call, or all waiting calls of the run if none is named."""
        body = ApproveSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        run = self.get_object()
        approvals.answer(run, by=request.user.get_username(), **body.validated_data)
        run.refresh_from_db()
        return Response(self.get_serializer(run).data, status=202)

    @extend_schema(**EVENTS)
    @action(detail=True)
    def events(self, request: Request, pk: Any):
        """Return the run's events: a page of JSON, or a stream that ends with the run."""
        return event_pages.run_events(request, self.get_object())


class RunStepsView(JSONView, ListAPIView):
    """List the steps of a run in order."""

    queryset = Step.objects.all()
    serializer_class = StepSerializer
    ordering_fields = ("index", "-index")

    def get_queryset(self) -> QuerySet[Step]:
        run = get_object_or_404(Run.objects.visible_to(self.request.user), pk=self.kwargs["pk"])
        return super().get_queryset().filter(run=run)


class RunApprovalsView(JSONView, ListAPIView):
    """List the calls of a run that need or needed approval."""

    queryset = Approval.objects.all()
    serializer_class = ApprovalSerializer
    ordering_fields = ("created_at", "-created_at")

    def get_queryset(self) -> QuerySet[Approval]:
        run = get_object_or_404(Run.objects.visible_to(self.request.user), pk=self.kwargs["pk"])
        return super().get_queryset().filter(run=run)


class RunFilesView(JSONView, ListAPIView):
    """Files that the tools of a run returned."""

    queryset = File.objects.all()
    serializer_class = FileSerializer
    ordering_fields = ("-created_at", "created_at")

    def get_queryset(self) -> QuerySet[File]:
        run = get_object_or_404(Run.objects.visible_to(self.request.user), pk=self.kwargs["pk"])
        return File.objects.kept().filter(run=run).select_related("stored")


class ArtifactView(JSONView):
    """A file that a tool returned, at its address of before tools' data became files."""

    @extend_schema(responses={(200, "application/octet-stream"): bytes}, deprecated=True)
    def get(self, request: Request, pk: Any, artifact: uuid.UUID) -> HttpResponseBase:
        """Return the bytes: `/v1/files/{id}/content` of the file whose id has these hexadecimal digits."""
        run = get_object_or_404(Run.objects.visible_to(request.user), pk=pk)
        files = File.objects.kept().select_related("stored")
        return content_response(request, get_object_or_404(files, pk=f"file-{artifact.hex}", run=run))

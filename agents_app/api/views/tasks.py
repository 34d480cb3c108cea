"""/v1/tasks, with their runs, skips and deliveries."""

import datetime
import hashlib
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.generics import ListAPIView, get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app import clock, exact_json, scheduler, schedules
from agents_app.access import limits
from agents_app.api import idempotency
from agents_app.api.base import CrudViewSet, JSONView
from agents_app.api.links import accepted_response
from agents_app.api.pagination import whole_number
from agents_app.api.serializers.runs import AcceptedSerializer, RunSerializer
from agents_app.api.serializers.tasks import (
    DeliverySerializer,
    ScheduleSerializer,
    SimulationSerializer,
    SkipSerializer,
    TaskSerializer,
)
from agents_app.exceptions import Conflict, InvalidRequest
from agents_app.models import Delivery, Run, ScheduledTask, Skip
from agents_app.scheduler import preview
from agents_app.schedules import BadSchedule

LARGEST_COUNT = 1000
_FLAGS = {"true": True, "false": False}


_NOT_READ = ("webhook_secret", "agent_version__spec")


class TaskViewSet(CrudViewSet):
    """Tasks: a prompt for an agent and its schedule."""

    queryset = ScheduledTask.objects.all()
    serializer_class = TaskSerializer
    lookup_value_converter = "uuid"
    lookup_field = "pk"
    ordering_fields = ("-created_at", "created_at", "name", "-name")

    def get_queryset(self) -> Any:
        tasks = ScheduledTask.objects.visible_to(self.request.user)
        return tasks.select_related("agent", "agent_version", "kept_session").defer(*_NOT_READ).with_results()

    def filter_queryset(self, queryset: Any) -> Any:
        if self.action != "list":
            return queryset
        if agent := self.request.query_params.get("agent"):
            queryset = queryset.filter(agent__name=agent)
        if enabled := self.request.query_params.get("enabled"):
            if enabled not in _FLAGS:
                raise InvalidRequest("'enabled' must be true or false.", param="enabled")
            queryset = queryset.filter(enabled=_FLAGS[enabled])
        return queryset

    @extend_schema(
        parameters=[
            OpenApiParameter("agent", str, description="Only tasks of this agent."),
            OpenApiParameter("enabled", bool, description="Only enabled or only disabled tasks."),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(parameters=[idempotency.HEADER])
    @transaction.atomic
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Create a task. The same Idempotency-Key returns the same task."""
        key = idempotency.key_hash(request, ".tasks")
        fingerprint = hashlib.sha256(exact_json.dumps(request.data, sort_keys=True)).hexdigest()
        task = self.get_queryset().filter(creation_key=key).first() if key else None
        if task is not None and task.creation_mark != fingerprint:
            raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
        if task is None:
            serializer = self.get_serializer(data=request.data)
            serializer.is_valid(raise_exception=True)
            limits.admit_task(request.user)
            task = serializer.save(owner=request.user, creation_key=key or None, creation_mark=fingerprint)
        data = self.get_serializer(task).data
        return Response(data, status=201, headers={"Location": self.reverse_action("detail", args=[task.pk])})

    def perform_destroy(self, task: ScheduledTask) -> None:
        """Delete the task. Its runs continue and are kept."""
        ScheduledTask.objects.select_for_update().get(pk=task.pk).delete()

    @extend_schema(request=None, responses={200: TaskSerializer})
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: Any) -> Response:
        """Enable the task from now on. Moments missed while it was disabled are not made up for."""
        return self._set_enabled(request, enabled=True)

    @extend_schema(request=None, responses={200: TaskSerializer})
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: Any) -> Response:
        """Disable the task. A run in progress continues."""
        return self._set_enabled(request, enabled=False)

    @transaction.atomic
    def _set_enabled(self, request: Request, *, enabled: bool) -> Response:
        serializer = self.get_serializer(self.get_object(), data={"enabled": enabled}, partial=True)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data)

    @extend_schema(request=None, responses={202: AcceptedSerializer}, parameters=[idempotency.HEADER])
    @action(detail=True, methods=["post"])
    def run(self, request: Request, pk: Any) -> Response:
        """Run the task now, regardless of its schedule. A disabled task can be run too."""
        task = self.get_object()
        key = idempotency.key_hash(request, f".task.{task.pk}")
        once = {"message_id": f"key-{key}", "session_id": f"s-{key[:32]}"} if key else {}
        return accepted_response(request, scheduler.run_now(task, trigger=Run.Trigger.API, **once).run)

    @extend_schema(
        responses=SimulationSerializer,
        parameters=[
            OpenApiParameter("count", int, description=f"Number of moments, 1 to {LARGEST_COUNT}."),
            OpenApiParameter("from", datetime.datetime, description="Only after this moment. Leave out for now."),
            OpenApiParameter("to", datetime.datetime, description="Only up to this moment."),
            OpenApiParameter("duration", int, description="Assumed seconds per run."),
        ],
    )
    @action(detail=True)
    def simulate(self, request: Request, pk: Any) -> Response:
        """Preview the schedule: the next due moments, each with its outcome and reason."""
        task = self.get_object()
        count = whole_number(request, "count", 10, least=1, most=LARGEST_COUNT)
        seconds = whole_number(request, "duration", 0, least=0, most=30 * 86_400)
        has_duration = "duration" in request.query_params
        duration = datetime.timedelta(seconds=seconds) if has_duration else preview.usual_duration(task)
        since, until = _moment(request, "from"), _moment(request, "to")
        return _planned_runs(task, duration, count=count, since=since, until=until)

    @extend_schema(request=ScheduleSerializer, responses={200: SimulationSerializer})
    @action(detail=False, methods=["post"], url_path="simulate")
    def preview(self, request: Request) -> Response:
        """Preview a schedule that is not saved."""
        body = ScheduleSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        schedule = dict(body.validated_data)
        count = schedule.pop("count")
        task = ScheduledTask(**schedule, anchor=clock.now().replace(microsecond=0))
        try:
            return _planned_runs(task, datetime.timedelta(), count=count)
        except BadSchedule as error:
            raise ValidationError({error.field: str(error)}) from None


def _moment(request: Request, name: str) -> datetime.datetime | None:
    text = request.query_params.get(name, "")
    if not text:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
        if not schedules.EARLIEST.year <= moment.year < schedules.LATEST.year:
            raise ValueError
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        text = f"'{name}' must be a time such as 2026-12-01T09:00:00Z (write '+' as %2B in a URL)."
        raise InvalidRequest(text, param=name) from None


def _planned_runs(task: ScheduledTask, duration: datetime.timedelta, **options: Any) -> Response:
    planned, has_more = preview.simulate(task, duration, **options)
    body = {
        "object": "list",
        "data": planned,
        "has_more": has_more,
        "next": None,
        "enabled": task.enabled,
        "duration": duration.total_seconds(),
    }
    return Response(SimulationSerializer(body).data)


class _OfTaskView(JSONView, ListAPIView):
    """List what belongs to one task, newest first."""

    def get_queryset(self) -> QuerySet[Any]:
        task = get_object_or_404(ScheduledTask.objects.visible_to(self.request.user), pk=self.kwargs["pk"])
        return super().get_queryset().filter(task=task)


class TaskRunsView(_OfTaskView):
    """List the runs of a task."""

    queryset = Run.objects.all().to_answer()
    serializer_class = RunSerializer
    ordering_fields = ("-created_at", "created_at")


class TaskSkipsView(_OfTaskView):
    """List the due moments of a task that were skipped, and why."""

    queryset = Skip.objects.all()
    serializer_class = SkipSerializer
    ordering_fields = ("-scheduled_for", "scheduled_for")


class TaskDeliveriesView(_OfTaskView):
    """List the deliveries of the webhook of a task."""

    queryset = Delivery.objects.all()
    serializer_class = DeliverySerializer
    ordering_fields = ("-created_at", "created_at")

"""/v1/sessions: conversations and their logs."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api import event_pages
from agents_app.api.base import JSONView
from agents_app.api.examples import EVENTS
from agents_app.api.permissions import is_administrator
from agents_app.api.serializers.contexts import ContextSerializer
from agents_app.api.serializers.runs import RunSerializer
from agents_app.api.serializers.sessions import ForkSerializer, SessionSerializer
from agents_app.exceptions import InUse
from agents_app.models import Run, Session
from agents_app.runs import forks
from agents_app.worker.next_context import next_context


def _get(request: Request, session_id: str) -> Session:
    """Return the session by the caller's own name for it, or by its id."""
    if session := Session.objects.find(request.user, session_id):
        return session
    raise Http404


class SessionViewSet(
    JSONView,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Sessions: conversations with their logs, by your name for one or by its id. The first message creates one."""

    queryset = Session.objects.all()
    serializer_class = SessionSerializer
    http_method_names = ("get", "head", "patch", "delete", "post")
    lookup_value_regex = "[^/]+"
    ordering_fields = ("-created_at", "created_at", "-updated_at", "updated_at")

    def get_queryset(self) -> Any:
        return Session.objects.visible_to(self.request.user).select_related("agent")

    def get_object(self) -> Session:
        return _get(self.request, self.kwargs["pk"])

    @transaction.atomic
    def perform_destroy(self, session: Session) -> None:
        """Delete the session with its runs and its log. With an unfinished run it is a 409."""
        if session.runs.unfinished().exists():
            raise InUse("The session has an unfinished run: cancel it first.")
        forks.delete_session(session)

    @extend_schema(request=ForkSerializer, responses={201: SessionSerializer})
    @action(detail=True, methods=["post"])
    def fork(self, request: Request, pk: str) -> Response:
        """Create a session of yours that begins as this one, up to a run. Nothing is copied, and both go their ways."""
        body = ForkSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        created = forks.fork(self.get_object(), user=request.user, **body.validated_data)
        data = self.get_serializer(created).data
        location = request.build_absolute_uri(reverse("session-detail", args=[data["session_id"]]))
        return Response(data, status=201, headers={"Location": location})

    @extend_schema(**EVENTS)
    @action(detail=True)
    def events(self, request: Request, pk: str):
        """Return the session's events: a page of JSON, or a stream that stays open."""
        return event_pages.session_events(request, self.get_object())

    @extend_schema(responses=ContextSerializer)
    @action(detail=True)
    def context(self, request: Request, pk: str) -> Response:
        """Return what the model would be told next, message by message, and what was left out."""
        told = next_context(self.get_object(), with_prompt=is_administrator(request))
        return Response(ContextSerializer(told).data)


class SessionRunsView(JSONView, ListAPIView):
    """List the runs of a session, oldest first."""

    queryset = Run.objects.all().to_answer()
    serializer_class = RunSerializer
    ordering_fields = ("number", "-number")

    def get_queryset(self) -> QuerySet[Run]:
        session = _get(self.request, self.kwargs["pk"])
        return super().get_queryset().filter(session=session)

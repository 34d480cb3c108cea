"""/v1/actions: what runs wait for, in all sessions."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api.base import JSONView
from agents_app.api.serializers.actions import STATUSES, ActionSerializer, AnswerSerializer
from agents_app.exceptions import InvalidRequest
from agents_app.models import Approval
from agents_app.runs import actions

_BY_STATUS = {name: status for status, name in STATUSES.items()}


class ActionViewSet(JSONView, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Actions: calls that wait for approval, questions of agents, and calls of the calling program's tools."""

    noun = ("action", "actions")
    queryset = Approval.objects.all()
    serializer_class = ActionSerializer
    lookup_value_regex = "[^/]+"
    ordering_fields = ("-created_at", "created_at")

    def get_queryset(self) -> QuerySet[Approval]:
        return Approval.objects.visible_to(self.request.user).select_related("run__session")

    def get_object(self) -> Approval:
        return actions.find(self.request.user, self.kwargs["pk"])

    def filter_queryset(self, queryset: Any) -> Any:
        status = self.request.query_params.get("status")
        if self.action != "list" or not status:
            return queryset
        if status not in _BY_STATUS:
            raise InvalidRequest(f"'status' must be one of: {', '.join(_BY_STATUS)}.", param="status")
        return queryset.filter(status=_BY_STATUS[status])

    @extend_schema(
        parameters=[OpenApiParameter("status", str, enum=list(_BY_STATUS), description="Only of this status.")]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=AnswerSerializer, responses={202: ActionSerializer})
    @action(detail=True, methods=["post"])
    def answer(self, request: Request, pk: Any) -> Response:
        """Answer or decline. The first answer counts: a later one is a 409."""
        body = AnswerSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        answered = actions.answer(request.user, pk, **body.validated_data)
        return Response(self.get_serializer(answered).data, status=202)

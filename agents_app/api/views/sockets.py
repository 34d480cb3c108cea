"""/v1/connections and /v1/broadcast: the sockets of all instances."""

from asgiref.sync import async_to_sync
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api.base import JSONView
from agents_app.api.permissions import IsAdministrator
from agents_app.live import sockets


class ConnectionSerializer(serializers.Serializer):
    id = serializers.CharField()
    session_id = serializers.CharField()
    user = serializers.CharField()
    agent_name = serializers.CharField(allow_null=True)
    address = serializers.CharField()
    since = serializers.FloatField(help_text="Seconds since the epoch.")
    instance = serializers.CharField(help_text="The host and process that holds the socket.")


class ConnectionListSerializer(serializers.Serializer):
    object = serializers.CharField(default="list")
    data = ConnectionSerializer(many=True)  # type: ignore[assignment]
    has_more = serializers.BooleanField()
    next = serializers.CharField(allow_null=True)


class NoticeSerializer(serializers.Serializer):
    message = serializers.CharField(max_length=1000)


class NoticeSentSerializer(serializers.Serializer):
    sockets = serializers.IntegerField()


class ConnectionsView(JSONView):
    """Who is connected, to any instance."""

    permission_classes = (IsAdministrator,)

    @extend_schema(operation_id="connections_list", responses=ConnectionListSerializer)
    def get(self, request: Request) -> Response:
        found = async_to_sync(sockets.connections)()
        return Response({"object": "list", "data": found, "has_more": False, "next": None})


class BroadcastView(JSONView):
    """A notice to the sockets of all instances."""

    permission_classes = (IsAdministrator,)

    @extend_schema(request=NoticeSerializer, responses=NoticeSentSerializer)
    def post(self, request: Request) -> Response:
        notice = NoticeSerializer(data=request.data)
        notice.is_valid(raise_exception=True)
        return Response({"sockets": async_to_sync(sockets.broadcast)(notice.validated_data["message"])})

"""/v1/connections and /v1/broadcast: the sockets of all instances."""

from asgiref.sync import async_to_sync
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.api.base import JSONView
from agents_app.api.permissions import IsAdministrator
from agents_app.api.serializers.sockets import ConnectionListSerializer, NoticeSentSerializer, NoticeSerializer
from agents_app.live import sockets


class ConnectionsView(JSONView):
    """List the sockets of all instances."""

    permission_classes = (IsAdministrator,)

    @extend_schema(operation_id="connections_list", responses=ConnectionListSerializer)
    def get(self, request: Request) -> Response:
        connections = async_to_sync(sockets.connections)()
        return Response({"object": "list", "data": connections, "has_more": False, "next": None})


class BroadcastView(JSONView):
    """Send a notice to the sockets of all instances."""

    permission_classes = (IsAdministrator,)

    @extend_schema(request=NoticeSerializer, responses=NoticeSentSerializer)
    def post(self, request: Request) -> Response:
        notice = NoticeSerializer(data=request.data)
        notice.is_valid(raise_exception=True)
        return Response({"sockets": async_to_sync(sockets.broadcast)(notice.validated_data["message"])})

"""/v1/tokens and /v1/ws-tickets: credentials of programs and pages."""

import datetime
from typing import Any, cast

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.access import callers, security_log
from agents_app.api.base import JSONView
from agents_app.api.permissions import MayManage
from agents_app.api.serializers.tokens import MakeTokenSerializer, NewTokenSerializer, TicketSerializer, TokenSerializer
from agents_app.exceptions import Conflict
from agents_app.models import ApiToken, Ticket
from agents_app.models.tokens import TICKET_SECONDS

MOST_TOKENS = 100  # of one user


class TokenViewSet(JSONView, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """The user's own API tokens."""

    permission_classes = (IsAuthenticated, MayManage)
    queryset = ApiToken.objects.select_related("made_with")
    serializer_class = TokenSerializer
    lookup_field = "uid"
    lookup_url_kwarg = "id"
    lookup_value_converter = "uuid"
    ordering_fields = ("-created", "created")

    def get_queryset(self) -> Any:
        return ApiToken.objects.visible_to(self.request.user)

    @extend_schema(request=MakeTokenSerializer, responses={201: NewTokenSerializer})
    def create(self, request: Request) -> Response:
        """Create a token. Only this response contains it. It ends no later than a token that created it."""
        body = MakeTokenSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        if self.get_queryset().count() >= MOST_TOKENS:
            raise Conflict(f"You have {MOST_TOKENS} tokens already: revoke some first.", code="too_many_tokens")
        days = body.validated_data["expires_in_days"]
        made_with = _token_of(request)
        lifetime = _shorter(days and datetime.timedelta(days=days), made_with)
        name, scope = body.validated_data["name"], body.validated_data["scope"]
        row, text = ApiToken.objects.create(request.user, lifetime, name=name, scope=scope, made_with=made_with)
        row.token = text
        name = request.user.get_username()
        security_log.record("token_created", user=name, by=name, token=row.token_key)
        headers = {"Location": self.reverse_action("detail", args=[row.uid])}
        return Response(NewTokenSerializer(row).data, status=201, headers=headers)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, id: Any) -> Response:
        """Revoke the token and those that it created. Requests fail at once, sockets and streams end within seconds."""
        row = self.get_object()
        row.delete()
        name = request.user.get_username()
        security_log.record("token_revoked", user=name, by=name, token=row.token_key)
        return Response(status=204)


def _token_of(request: Request) -> ApiToken | None:
    """Return the token of the request."""
    return cast("ApiToken | None", request.auth)


def _shorter(lifetime: datetime.timedelta | None, token: ApiToken | None) -> datetime.timedelta | None:
    """Return the shorter lifetime: a token that expires must not create one that outlives it."""
    if token is None or token.expiry is None:
        return lifetime
    rest = token.expiry - timezone.now()
    return min(lifetime, rest) if lifetime else rest


class TicketView(JSONView):
    """Tickets for the chat socket, for pages that cannot send a token in a header."""

    @extend_schema(request=None, responses={201: TicketSerializer})
    def post(self, request: Request) -> Response:
        """Create a ticket for one socket: valid once, for a minute, on any instance."""
        caller = callers.of_drf_request(request)
        text = Ticket.objects.issue(caller.user, caller.token, caller.session_hash)
        return Response({"ticket": text, "expires_in": TICKET_SECONDS}, status=201)

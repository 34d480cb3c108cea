"""API tokens and tickets as JSON."""

from rest_framework import serializers

from agents_app.api.serializers.fields import Choice, Strict, Text, WholeNumber
from agents_app.models import ApiToken

LONGEST_DAYS = 3650


class TokenSerializer(serializers.ModelSerializer):
    """A token of the user, without its text."""

    id = serializers.UUIDField(source="uid")
    begins_with = serializers.CharField(source="token_key", help_text="Its first characters, to recognize it.")
    created_at = serializers.DateTimeField(source="created")
    expires_at = serializers.DateTimeField(source="expiry", allow_null=True)
    made_with = serializers.UUIDField(
        source="made_with.uid",
        default=None,
        allow_null=True,
        help_text="The token that created it: if that is revoked, so is this one.",
    )

    class Meta:
        model = ApiToken
        fields = ("id", "name", "begins_with", "created_at", "expires_at", "last_used_at", "scope", "made_with")
        read_only_fields = fields


class NewTokenSerializer(TokenSerializer):
    """A new token: only this response has its text."""

    token = serializers.CharField(help_text="Send it as `Authorization: Bearer TOKEN`. It is never shown again.")

    class Meta:
        model = ApiToken
        fields = (*TokenSerializer.Meta.fields, "token")
        read_only_fields = fields


class MakeTokenSerializer(Strict):
    """The request to create a token."""

    name = Text(max_length=100, help_text="What it is for.")
    scope = Choice(
        choices=ApiToken.Scope.choices,
        default=ApiToken.Scope.MANAGE,
        help_text="`manage`: all that you may do. `run`: what an ordinary user may do, and no changes of tokens.",
    )
    expires_in_days = WholeNumber(
        min_value=1,
        max_value=LONGEST_DAYS,
        allow_null=True,
        default=None,
        help_text="Null for a token that does not expire.",
    )


class TicketSerializer(serializers.Serializer):
    """A ticket for one chat socket."""

    ticket = serializers.CharField(help_text="Offer the subprotocols `agent.v1, ticket.<ticket>`.")
    expires_in = serializers.IntegerField(help_text="Seconds.")

"""Providers as JSON."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents_app.api.serializers.fields import MASKED, Notice, Text, WithDefault, with_secrets
from agents_app.models import Provider
from agents_app.models.env_variables import masked
from agents_app.models.validation import validate_headers
from agents_app.runs import circuits


class ProviderSerializer(WithDefault):
    """A server of models. `api_key` is write-only: leave it out to keep the key, or send an empty text to remove it."""

    api_key = Text(write_only=True, required=False, allow_blank=True, help_text="Encrypted at rest, never returned.")
    has_api_key = serializers.SerializerMethodField(help_text="Whether a key is stored or in the environment.")
    headers = serializers.DictField(
        child=Text(allow_blank=True),
        required=False,
        validators=[validate_headers],
        help_text=f"Sent with each request to the model. {MASKED}",
    )
    circuit = serializers.SerializerMethodField(
        help_text="`closed`; `open` while it is not asked because it failed repeatedly; then `half_open`."
    )
    notice = Notice()
    sticky_fields: ClassVar = {"is_default", "api_key"}

    class Meta:
        model = Provider
        fields = (
            "name",
            "kind",
            "base_url",
            "api_key",
            "api_key_env",
            "has_api_key",
            "headers",
            "default_model",
            "context_tokens",
            "first_token_timeout",
            "circuit",
            "is_default",
            "open_to_users",
            "created_at",
            "updated_at",
            "notice",
        )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return super().validate(with_secrets(self, attrs))

    def to_representation(self, instance: Provider) -> dict[str, Any]:
        return super().to_representation(instance) | {"headers": masked(instance.headers)}

    @extend_schema_field(serializers.ChoiceField(["closed", "open", "half_open"]))
    def get_circuit(self, provider: Provider) -> str:
        return circuits.state_of(provider)

    def get_has_api_key(self, provider: Provider) -> bool:
        return bool(provider.secret())


class ProviderCheckSerializer(serializers.Serializer):
    """The result of checking a provider. `message` says what is wrong if `ok` is false."""

    ok = serializers.BooleanField()
    message = serializers.CharField()
    models = serializers.ListField(child=serializers.CharField(), help_text="The models that it has.")
    duration_ms = serializers.IntegerField()

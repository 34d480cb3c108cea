"""Providers as JSON."""

from typing import ClassVar

from rest_framework import serializers

from agents_app.api.serializers.fields import Text, WithDefault
from agents_app.models import Provider
from agents_app.models.validation import validate_headers


class ProviderSerializer(WithDefault):
    """A server of models. `api_key` is only ever written: left out it is sticky_fields, empty it is removed."""

    api_key = Text(write_only=True, required=False, allow_blank=True, help_text="Encrypted at rest, never shown.")
    has_api_key = serializers.SerializerMethodField(help_text="Whether there is a key, stored or in the environment.")
    headers = serializers.DictField(child=Text(allow_blank=True), required=False, validators=[validate_headers])
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
            "is_default",
            "created_at",
            "updated_at",
        )

    def get_has_api_key(self, provider: Provider) -> bool:
        return bool(provider.secret())


class ProviderCheckSerializer(serializers.Serializer):
    """What came of trying a provider. `message` says what is wrong where `ok` is false."""

    ok = serializers.BooleanField()
    message = serializers.CharField()
    models = serializers.ListField(child=serializers.CharField(), help_text="The models that it offers.")
    duration_ms = serializers.IntegerField()

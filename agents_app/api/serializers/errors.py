"""Errors as JSON."""

from rest_framework import serializers


class ErrorDetailSerializer(serializers.Serializer):
    """The details of an error."""

    message = serializers.CharField(help_text="A human-readable sentence.")
    type = serializers.CharField()
    param = serializers.CharField(allow_null=True, help_text="The field or query parameter at fault.")
    code = serializers.CharField(help_text="A machine-readable code.")
    fields = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


class ErrorSerializer(serializers.Serializer):
    """The body of every error."""

    error = ErrorDetailSerializer()

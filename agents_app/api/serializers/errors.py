"""Errors as JSON."""

from rest_framework import serializers


class ErrorDetailSerializer(serializers.Serializer):
    """What went wrong."""

    message = serializers.CharField(help_text="A sentence for people.")
    type = serializers.CharField()
    param = serializers.CharField(allow_null=True, help_text="The field or query parameter at fault.")
    code = serializers.CharField(help_text="For programs.")
    fields = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


class ErrorSerializer(serializers.Serializer):
    """Every error looks like this."""

    error = ErrorDetailSerializer()

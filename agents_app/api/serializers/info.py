"""What `/` and `/v1/info` answer, as JSON."""

from rest_framework import serializers


class RootSerializer(serializers.Serializer):
    """The server and its endpoints."""

    name = serializers.CharField()
    version = serializers.CharField()
    status = serializers.CharField()
    endpoints = serializers.DictField(child=serializers.CharField())


class InfoSerializer(serializers.Serializer):
    """The capabilities and limits of this version."""

    name = serializers.CharField()
    version = serializers.CharField()
    protocol = serializers.IntegerField(help_text="The version of the frames.")
    mode = serializers.ChoiceField(["embedded", "distributed"])
    auth_required = serializers.BooleanField()
    capabilities = serializers.DictField(child=serializers.BooleanField())
    limits = serializers.DictField(child=serializers.IntegerField())

"""Connections and notices as JSON."""

from rest_framework import serializers


class ConnectionSerializer(serializers.Serializer):
    id = serializers.CharField()
    session_id = serializers.CharField()
    user = serializers.CharField()
    agent_name = serializers.CharField(allow_null=True)
    address = serializers.CharField()
    since = serializers.FloatField(help_text="Seconds since the epoch.")
    instance = serializers.CharField(help_text="The host and process that serve the socket.")


class ConnectionListSerializer(serializers.Serializer):
    object = serializers.CharField(default="list")
    data = ConnectionSerializer(many=True)  # type: ignore[assignment]
    has_more = serializers.BooleanField()
    next = serializers.CharField(allow_null=True)


class NoticeSerializer(serializers.Serializer):
    message = serializers.CharField(max_length=1000)


class NoticeSentSerializer(serializers.Serializer):
    sockets = serializers.IntegerField()

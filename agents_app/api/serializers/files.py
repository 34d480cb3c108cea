"""Files as JSON, in the form of OpenAI's."""

import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents_app.models import File

PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")  # OpenAI's
LEAST_SECONDS, MOST_SECONDS = 3600, 2_592_000  # until a file expires


@extend_schema_field(int)
class UnixTime(serializers.Field):
    """A moment in whole seconds since the epoch."""

    def to_representation(self, value: datetime.datetime) -> int:
        return int(value.timestamp())


@extend_schema_field(str)
class Constant(serializers.Field):
    """A field of OpenAI's format that always says the same."""

    def __init__(self, value: str) -> None:
        super().__init__(read_only=True, source="*")
        self.value = value

    def to_representation(self, instance: Any) -> str:
        return self.value


class FileSerializer(serializers.ModelSerializer):
    """A file, without its bytes."""

    object = Constant("file")
    bytes = serializers.IntegerField(source="size")
    created_at = UnixTime()
    expires_at = UnixTime(allow_null=True, help_text="Null if it is kept.")
    filename = serializers.CharField(source="name")
    status = Constant("processed")
    sha256 = serializers.CharField(source="stored.sha256")
    run_id = serializers.UUIDField(allow_null=True, help_text="Run that made it.")

    class Meta:
        model = File
        fields = (
            "id",
            "object",
            "bytes",
            "created_at",
            "expires_at",
            "filename",
            "purpose",
            "status",
            "kind",
            "media_type",
            "sha256",
            "run_id",
        )
        read_only_fields = fields


class UploadSerializer(serializers.Serializer):
    """The form of an upload."""

    file = serializers.FileField(help_text="At most FILES_MAX_BYTES.")
    purpose = serializers.ChoiceField(choices=PURPOSES, default="user_data")
    expires_after_anchor = serializers.ChoiceField(
        choices=("created_at",), required=False, help_text="Sent as `expires_after[anchor]`."
    )
    expires_after_seconds = serializers.IntegerField(
        min_value=LEAST_SECONDS, max_value=MOST_SECONDS, required=False, help_text="Sent as `expires_after[seconds]`."
    )


class DeletedFileSerializer(serializers.Serializer):
    """The response to a deletion."""

    id = serializers.CharField()
    object = serializers.CharField(default="file")
    deleted = serializers.BooleanField(default=True)

"""MCP servers and calls of their tools as JSON."""

from base64 import b64encode
from typing import Any, ClassVar

from rest_framework import serializers

from agents_app.api.serializers.fields import (
    MASKED,
    Flag,
    Notice,
    Number,
    Patterns,
    Strict,
    StrictModel,
    Text,
    with_secrets,
)
from agents_app.models import McpServer
from agents_app.models.env_variables import masked
from agents_app.models.mcp_servers import OUTCOME, validate_arguments, validate_environment, validate_timeouts
from agents_app.models.sandboxes import validate_folders, validate_hosts
from agents_app.models.validation import validate_headers

LARGEST_DATA = 1024 * 1024  # bytes of an attachment that are returned
_SECRETS = ("env", "headers")


class SandboxFolderSerializer(Strict):
    """A folder of this machine that a sandbox shows under its own path."""

    path = Text(help_text="Absolute path.")
    write = Flag(default=False, help_text="Whether the command may write to it.")


class McpServerSerializer(StrictModel):
    """A server of tools: a local command or a URL."""

    args = serializers.ListField(
        child=Text(allow_blank=True),
        required=False,
        validators=[validate_arguments],
        help_text="For stdio: its arguments. ${VAR} and ${VAR:-default} are replaced at use, here and below.",
    )
    env = serializers.DictField(
        child=Text(allow_blank=True),
        required=False,
        validators=[validate_environment],
        help_text=f"For stdio: its environment besides PATH, HOME and LANG. {MASKED}",
    )
    headers = serializers.DictField(
        child=Text(allow_blank=True),
        required=False,
        validators=[validate_headers],
        help_text=f"For SSE and streamable HTTP: sent with each request. {MASKED}",
    )
    tool_timeouts = serializers.DictField(
        child=Number(),
        required=False,
        validators=[validate_timeouts],
        help_text="Seconds by tool, for tools that need their own.",
    )
    allowed_tools = Patterns(help_text="Tools that may be used, by the server's names. Leave empty for all.")
    denied_tools = Patterns(help_text="Tools that may not be used, by the server's names.")
    allowed_hosts = serializers.ListField(
        child=Text(),
        required=False,
        validators=[validate_hosts],
        help_text="Hosts that its sandbox may connect to: names, patterns or networks. Leave empty for the internet.",
    )
    folders = serializers.ListField(
        child=SandboxFolderSerializer(),
        required=False,
        validators=[validate_folders],
        help_text="Folders that its sandbox shows.",
    )
    tool_names = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Its tools at the last check, by the server's names."
    )
    notice = Notice()
    sticky_fields: ClassVar = set(OUTCOME)

    class Meta:
        model = McpServer
        fields = (
            "name",
            "description",
            "transport",
            "command",
            "args",
            "env",
            "url",
            "headers",
            "timeout",
            "tool_timeouts",
            "allowed_tools",
            "denied_tools",
            "max_memory_mb",
            "max_cpu_seconds",
            "max_processes",
            "max_open_files",
            "scope",
            "sandbox",
            "allowed_hosts",
            "folders",
            "enabled",
            "open_to_users",
            "checked_at",
            "check_ok",
            "check_message",
            "tool_names",
            "created_at",
            "updated_at",
            "notice",
        )
        read_only_fields = OUTCOME

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return super().validate(with_secrets(self, attrs))

    def to_representation(self, instance: McpServer) -> dict[str, Any]:
        return super().to_representation(instance) | {name: masked(getattr(instance, name)) for name in _SECRETS}


class ServerCheckSerializer(serializers.Serializer):
    """The result of checking a server. `message` says what is wrong if `ok` is false."""

    ok = serializers.BooleanField()
    message = serializers.CharField()
    server_name = serializers.CharField(help_text="The server's own name; empty if it did not answer.")
    server_version = serializers.CharField()
    protocol_version = serializers.CharField()
    instructions = serializers.CharField(help_text="The server's instructions for its use.")
    tools = serializers.ListField(
        child=serializers.CharField(), source="tool_names", help_text="Its tools, by the server's names."
    )
    refused = serializers.ListField(
        child=serializers.CharField(),
        help_text="Hosts that the server tried to reach from its sandbox and may not, each with the reason.",
    )
    duration_ms = serializers.IntegerField()


class ToolSerializer(serializers.Serializer):
    """A tool of a server."""

    name = serializers.CharField(help_text="Its name for agents and patterns: server__tool.")
    tool = serializers.CharField(source="own_name", help_text="Its name on the server.")
    description = serializers.CharField()
    parameters = serializers.DictField(help_text="JSON schema of its arguments.")
    read_only = serializers.BooleanField(help_text="The server says that it changes nothing.")  # type: ignore[assignment]
    idempotent = serializers.BooleanField(help_text="The server says that a repeated call changes nothing more.")


class ToolListSerializer(serializers.Serializer):
    """The tools of a server."""

    object = serializers.ChoiceField(["list"])
    data = ToolSerializer(many=True)  # type: ignore[assignment]
    has_more = serializers.BooleanField()
    next = serializers.URLField(allow_null=True)


class ToolCallSerializer(Strict):
    """The request to call a tool."""

    arguments = serializers.DictField(
        required=False, default=dict, help_text="Arguments that match the tool's parameters."
    )


class Base64Field(serializers.CharField):
    """Bytes in base64, left out if they are too many."""

    def get_attribute(self, instance: Any) -> Any:
        data: Any = super().get_attribute(instance)
        if len(data) > LARGEST_DATA:
            raise serializers.SkipField
        return data

    def to_representation(self, value: Any) -> str:
        return b64encode(value).decode()


class AttachmentSerializer(serializers.Serializer):
    """What a tool returned besides text."""

    kind = serializers.ChoiceField(["text", "image", "audio", "resource", "structured"])
    media_type = serializers.CharField()
    size = serializers.SerializerMethodField(help_text="Bytes.")
    name = serializers.CharField(allow_blank=True)
    data = Base64Field(required=False, help_text="Base64; left out above 1 MiB.")  # type: ignore[assignment]

    def get_size(self, attachment: Any) -> int:
        return len(attachment.data)


class OutcomeSerializer(serializers.Serializer):
    """The result of a call."""

    content = serializers.CharField(source="result.content", help_text="The text for the model.")
    is_error = serializers.BooleanField(source="result.is_error", help_text="Whether the tool reports a failure.")
    attachments = AttachmentSerializer(source="result.attachments", many=True)
    duration_ms = serializers.IntegerField()

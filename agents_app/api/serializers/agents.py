"""Agents as JSON."""

from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from rest_framework import serializers

from agents_app.access import own_agents
from agents_app.api.permissions import is_administrator
from agents_app.api.serializers.fields import ClientTools, Patterns, StrictModel, Text, WholeNumber, WithDefault
from agents_app.models import Agent, FallbackModel, McpServer, Provider, fallback_models
from agents_app.models.agents import ADMINISTRATORS_FIELDS, validate_builtin_tools
from agents_app.models.validation import CONTENT_KINDS

_VISIBLE = "Visible to administrators and its owner only."


class ProviderNameField(serializers.SlugRelatedField):
    """A provider by name."""

    default_error_messages: ClassVar = {
        "does_not_exist": "There is no provider {value!r}.",
        "invalid": "Use the name of a provider.",
    }

    def to_internal_value(self, data: Any) -> Provider:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data[:100])


class ServerNamesField(serializers.ListField):
    """MCP servers by name, in one query."""

    default_error_messages: ClassVar = {
        "not_a_list": "Use a list of names of MCP servers.",
        "does_not_exist": "There is no MCP server {name!r}.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(child=Text(), required=False, **options)

    def to_internal_value(self, data: Any) -> list[McpServer]:
        names = dict.fromkeys(super().to_internal_value(data))
        existing = {server.name: server for server in McpServer.objects.filter(name__in=names)}
        if unknown := [name for name in names if name not in existing]:
            self.fail("does_not_exist", name=unknown[0][:100])
        return list(existing.values())

    def to_representation(self, servers: Any) -> list[str]:
        return [server.name for server in servers.all()]


class NamesField(serializers.ListField):
    """Rows by a column that names them."""

    default_error_messages: ClassVar = {
        "not_a_list": "Use a list of names.",
        "does_not_exist": "There is no {kind} {name!r}.",
    }

    def __init__(self, rows: Any, column: str, **options: Any) -> None:
        super().__init__(child=Text(max_length=150), required=False, max_length=1000, **options)
        self.rows, self.column = rows, column

    def to_internal_value(self, data: Any) -> list[Any]:
        names = dict.fromkeys(super().to_internal_value(data))
        existing = {getattr(row, self.column): row for row in self.rows.filter(**{f"{self.column}__in": names})}
        if unknown := [name for name in names if name not in existing]:
            self.fail("does_not_exist", kind=self.rows.model._meta.verbose_name, name=unknown[0][:100])
        return list(existing.values())

    def to_representation(self, rows: Any) -> list[str]:
        return [getattr(row, self.column) for row in rows.all()]


def _accepts() -> serializers.ListField:
    return serializers.ListField(
        child=serializers.ChoiceField(CONTENT_KINDS),
        allow_null=True,
        required=False,
        max_length=10,
        help_text="What the model accepts. Null if that is known of it.",
    )


class ParametersSerializer(StrictModel):
    """Parameters of the model; null is the model's default."""

    accepts = _accepts()

    class Meta:
        model = Agent
        fields = ("temperature", "top_p", "max_tokens", "reasoning_effort", "thinking_budget", "accepts")
        extra_kwargs: ClassVar = {"reasoning_effort": {"allow_null": True}}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "reasoning_effort" in attrs:
            attrs["reasoning_effort"] = attrs["reasoning_effort"] or ""
        return attrs

    def to_representation(self, agent: Agent) -> dict[str, Any]:
        data = super().to_representation(agent)
        return data | {"reasoning_effort": data["reasoning_effort"] or None}


class FallbackModelSerializer(StrictModel):
    """A model that is asked where the one before it does not answer."""

    provider = ProviderNameField(
        slug_field="name",
        queryset=Provider.objects.all(),
        allow_null=True,
        required=False,
        help_text="Null for the agent's provider.",
    )
    accepts = _accepts()

    class Meta:
        model = FallbackModel
        fields = ("provider", "model", "accepts")


class AgentSerializer(WithDefault):
    """A prompt, a model and tools under a name. Only the name is required."""

    provider = ProviderNameField(
        slug_field="name",
        queryset=Provider.objects.all(),
        allow_null=True,
        required=False,
        help_text="Null for the default provider.",
    )
    fallback_models = FallbackModelSerializer(
        many=True,
        required=False,
        max_length=fallback_models.MOST,  # type: ignore[call-arg]
        help_text="Models that are asked in this order where `model` does not answer.",
    )
    parameters = ParametersSerializer(source="*", required=False)
    mcp_servers = ServerNamesField(
        max_length=100, help_text=f"Names of MCP servers. Their tools are named server__tool. {_VISIBLE}"
    )
    builtin_tools = serializers.ListField(
        child=Text(max_length=64),
        required=False,
        validators=[validate_builtin_tools],
        help_text="Names of built-in tools.",
    )
    client_tools = ClientTools(required=False, help_text="Tools that the calling program executes.")
    allowed_tools = Patterns(help_text=f"Tools that it may use. Leave empty for all. {_VISIBLE}")
    denied_tools = Patterns(help_text=f"Tools that it may not use. {_VISIBLE}")
    approval_required = Patterns(help_text=f"Tools whose calls a person must approve. {_VISIBLE}")
    allowed_users = NamesField(
        get_user_model().objects, "username", help_text=f"Users of a restricted agent. {_VISIBLE}"
    )
    allowed_groups = NamesField(Group.objects, "name", help_text=f"Groups of a restricted agent. {_VISIBLE}")
    owner = serializers.CharField(
        source="owner.username",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Null for one of the administrators'.",
    )
    is_editable = serializers.SerializerMethodField(help_text="Whether you may change it.")
    version = WholeNumber(
        source="current_version.number",
        required=False,
        allow_null=True,
        help_text="Its present version. In a PUT or PATCH the one that you read: a 409 if there is a newer one.",
    )

    sticky_fields: ClassVar = WithDefault.sticky_fields | {"owner"}

    class Meta:
        model = Agent
        fields = (
            "name",
            "role",
            "description",
            "system_prompt",
            "provider",
            "model",
            "fallback_models",
            "parameters",
            "mcp_servers",
            "builtin_tools",
            "client_tools",
            "allowed_tools",
            "denied_tools",
            "approval_required",
            "approval_timeout",
            "max_iterations",
            "timeout",
            "max_total_tokens",
            "max_running",
            "owner",
            "is_editable",
            "compaction",
            "compact_at",
            "access",
            "allowed_users",
            "allowed_groups",
            "enabled",
            "is_default",
            "version",
            "created_at",
            "updated_at",
        )
        extra_kwargs: ClassVar = {
            "system_prompt": {"help_text": f"Instructions for the model before the conversation. {_VISIBLE}"}
        }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        self.expected_version = attrs.pop("current_version", {}).get("number")
        request = self.context["request"]
        if is_administrator(request):
            return super().validate(attrs)
        if not self.partial:
            attrs = {"access": Agent.Access.RESTRICTED} | attrs
        attrs = super().validate(attrs)
        own_agents.check(request.user, attrs, self.instance)
        return attrs if self.instance else attrs | {"owner": request.user}

    def get_is_editable(self, agent: Agent) -> bool:
        return own_agents.is_editor(self.context["request"].user, agent)

    def create(self, validated_data: dict[str, Any]) -> Agent:
        fallbacks = validated_data.pop("fallback_models", None)
        return _with_fallbacks(super().create(validated_data), fallbacks)

    def update(self, instance: Agent, validated_data: dict[str, Any]) -> Agent:
        fallbacks = validated_data.pop("fallback_models", None)
        return _with_fallbacks(super().update(instance, validated_data), fallbacks)

    def _many(self) -> set[str]:
        return super()._many() | {"fallback_models"}

    def to_representation(self, agent: Agent) -> dict[str, Any]:
        data = super().to_representation(agent)
        if not data["is_editable"]:
            for name in ADMINISTRATORS_FIELDS:
                del data[name]
        return data


def _with_fallbacks(agent: Agent, fallbacks: list[dict[str, Any]] | None) -> Agent:
    if fallbacks is not None:
        fallback_models.replace(agent, [FallbackModel(**fields) for fields in fallbacks])
    return agent

"""Versions of agents as JSON."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents_app.access import own_agents
from agents_app.api.serializers.agents import ParametersSerializer
from agents_app.api.serializers.fields import ClientTools, Strict, Text
from agents_app.models import Agent, AgentVersion
from agents_app.models.agent_versions import LATER_COLUMNS, LONGEST_NOTE
from agents_app.models.agents import ADMINISTRATORS_FIELDS

_VISIBLE = "Visible to administrators and its owner only."
_PARAMETERS = ParametersSerializer.Meta.fields


def _names(help_text: str = _VISIBLE) -> Any:
    return serializers.ListField(child=serializers.CharField(), required=False, help_text=help_text)


class VersionFallbackSerializer(serializers.Serializer):
    """A further model of a version; `provider` is null for the version's own."""

    provider = serializers.CharField(allow_null=True)
    model = serializers.CharField()
    accepts = serializers.ListField(child=serializers.CharField(), allow_null=True)


class VersionSpecSerializer(serializers.Serializer):
    """What a version holds of its agent, as of the moment when it was written."""

    role = serializers.CharField()
    description = serializers.CharField()
    system_prompt = serializers.CharField(required=False, help_text=_VISIBLE)
    provider = serializers.CharField(allow_null=True)
    model = serializers.CharField()
    fallback_models = VersionFallbackSerializer(many=True)
    parameters = ParametersSerializer()
    mcp_servers = _names()
    builtin_tools = _names("Names of built-in tools.")
    client_tools = ClientTools(required=False)
    allowed_tools = _names()
    denied_tools = _names()
    approval_required = _names()
    approval_timeout = serializers.IntegerField()
    max_iterations = serializers.IntegerField()
    timeout = serializers.IntegerField()
    max_total_tokens = serializers.IntegerField(allow_null=True)
    compaction = serializers.ChoiceField(Agent.Compaction.choices)
    compact_at = serializers.IntegerField()

    def to_representation(self, spec: dict[str, Any]) -> dict[str, Any]:
        spec = LATER_COLUMNS | spec
        parameters = {name: spec.get(name) for name in _PARAMETERS}
        values = spec | {
            "provider": spec["provider"] and spec["provider"]["name"],
            "mcp_servers": [server["name"] for server in spec["mcp_servers"]],
            "fallback_models": [
                each | {"provider": each["provider"] and each["provider"]["name"]}
                for each in spec.get("fallback_models", [])
            ],
            "parameters": parameters | {"reasoning_effort": spec["reasoning_effort"] or None},
        }
        is_visible = self.context["is_editor"]
        return {
            name: value
            for name, value in values.items()
            if name in self.fields and (is_visible or name not in ADMINISTRATORS_FIELDS)
        }


class VersionSerializer(serializers.ModelSerializer):
    """A version of an agent. It never changes."""

    agent_name = serializers.CharField(source="agent.name")
    version = serializers.IntegerField(source="number", help_text="1, 2, 3 … for each agent.")
    is_current = serializers.SerializerMethodField(help_text="Whether new runs get it.")
    created_by = serializers.CharField(
        source="created_by.username", allow_null=True, required=False, help_text=f"Who changed the agent. {_VISIBLE}"
    )
    note = serializers.CharField(required=False, help_text=f"Why. {_VISIBLE}")

    class Meta:
        model = AgentVersion
        fields: tuple[str, ...] = ("agent_name", "version", "is_current", "created_at", "created_by", "note")

    def get_is_current(self, version: AgentVersion) -> bool:
        return version.agent is not None and version.agent.current_version_id == version.pk

    def to_representation(self, version: AgentVersion) -> dict[str, Any]:
        data = super().to_representation(version)
        if not self._is_editor(version):
            del data["created_by"], data["note"]
        return data

    def _is_editor(self, version: AgentVersion) -> bool:
        user = self.context["request"].user
        return version.agent is not None and own_agents.is_editor(user, version.agent)


class WholeVersionSerializer(VersionSerializer):
    """A version of an agent with its spec."""

    spec = serializers.SerializerMethodField()

    class Meta(VersionSerializer.Meta):
        fields = (*VersionSerializer.Meta.fields, "spec")

    @extend_schema_field(VersionSpecSerializer)
    def get_spec(self, version: AgentVersion) -> dict[str, Any]:
        context = {**self.context, "is_editor": self._is_editor(version)}
        return VersionSpecSerializer(context=context).to_representation(version.spec)


class ActivateSerializer(Strict):
    """The request to make a version the present one again."""

    note = Text(
        required=False, allow_blank=True, max_length=LONGEST_NOTE, help_text="Why; the default names the version."
    )


class DraftSerializer(serializers.Serializer):
    """A draft of an agent."""

    agent_name = serializers.CharField(help_text="The name by which its editor talks to it: name@draft.")

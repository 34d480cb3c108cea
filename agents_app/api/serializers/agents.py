"""How rows are said in JSON: PROTOCOL, section 2."""

from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.validators import RegexValidator
from rest_framework import serializers

from agents_app import runs
from agents_app.api.serializers.fields import Choice, Flag, Strict, StrictModel, Text, WithDefault
from agents_app.models import Agent, McpServer, Provider, Run, Session, Step
from agents_app.models.agents import validate_builtin_tools
from agents_app.models.runs import COST_PLACES, SESSION_ID, SESSION_ID_RULE
from agents_app.models.validation import validate_headers, validate_patterns


class ProviderSerializer(WithDefault):
    """A server of models. `api_key` is only ever written: left out it is kept, empty it is removed."""

    api_key = Text(write_only=True, required=False, allow_blank=True, help_text="Encrypted at rest, never shown.")
    has_api_key = serializers.SerializerMethodField(help_text="Whether there is a key, stored or in the environment.")
    headers = serializers.DictField(child=Text(allow_blank=True), required=False, validators=[validate_headers])
    kept: ClassVar = {"is_default", "api_key"}

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


class ProviderNameField(serializers.SlugRelatedField):
    """A provider, by name."""

    default_error_messages: ClassVar = {
        "does_not_exist": "There is no provider {value!r}.",
        "invalid": "Give the name of a provider.",
    }

    def to_internal_value(self, data: Any) -> Provider:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data[:100])


class ServerNamesField(serializers.ListField):
    """MCP servers, by their names: one query, however many there are."""

    default_error_messages: ClassVar = {
        "not_a_list": "Give a list of the names of MCP servers.",
        "does_not_exist": "There is no MCP server {name!r}.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(child=Text(), required=False, **options)

    def to_internal_value(self, data: Any) -> list[McpServer]:
        names = dict.fromkeys(super().to_internal_value(data))
        known = {server.name: server for server in McpServer.objects.filter(name__in=names)}
        if unknown := [name for name in names if name not in known]:
            self.fail("does_not_exist", name=unknown[0][:100])
        return list(known.values())

    def to_representation(self, servers: Any) -> list[str]:
        return [server.name for server in servers.all()]


class NamesField(serializers.ListField):
    """Other rows, by a column that is their name."""

    default_error_messages: ClassVar = {
        "not_a_list": "Give a list of names.",
        "does_not_exist": "There is no {kind} {name!r}.",
    }

    def __init__(self, rows: Any, column: str, **options: Any) -> None:
        super().__init__(child=Text(max_length=150), required=False, max_length=1000, **options)
        self.rows, self.column = rows, column

    def to_internal_value(self, data: Any) -> list[Any]:
        names = dict.fromkeys(super().to_internal_value(data))
        known = {getattr(row, self.column): row for row in self.rows.filter(**{f"{self.column}__in": names})}
        if unknown := [name for name in names if name not in known]:
            self.fail("does_not_exist", kind=self.rows.model._meta.verbose_name, name=unknown[0][:100])
        return list(known.values())

    def to_representation(self, rows: Any) -> list[str]:
        return [getattr(row, self.column) for row in rows.all()]


class Patterns(serializers.ListField):
    """Patterns over names of tools."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=Text(), required=False, validators=[validate_patterns], **options)


class ParametersSerializer(StrictModel):
    """How the model is asked to answer; null leaves a thing to the model."""

    class Meta:
        model = Agent
        fields = ("temperature", "top_p", "max_tokens", "reasoning_effort", "thinking_budget")
        extra_kwargs: ClassVar = {"reasoning_effort": {"allow_null": True}}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "reasoning_effort" in attrs:
            attrs["reasoning_effort"] = attrs["reasoning_effort"] or ""
        return attrs

    def to_representation(self, agent: Agent) -> dict[str, Any]:
        said = super().to_representation(agent)
        return said | {"reasoning_effort": said["reasoning_effort"] or None}


class AgentSerializer(WithDefault):
    """A prompt, a model and tools, under a name. Only the name is required."""

    provider = ProviderNameField(
        slug_field="name",
        queryset=Provider.objects.all(),
        allow_null=True,
        required=False,
        help_text="Null: the default provider.",
    )
    parameters = ParametersSerializer(source="*", required=False)
    mcp_servers = ServerNamesField(max_length=100, help_text="Names of MCP servers; their tools are server__tool.")
    builtin_tools = serializers.ListField(
        child=Text(max_length=64),
        required=False,
        validators=[validate_builtin_tools],
        help_text="Names of tools.",
    )
    allowed_tools = Patterns(help_text="Of the tools that it may use; empty: all.")
    denied_tools = Patterns(help_text="Of tools that it may not use.")
    approval_required = Patterns(help_text="Of tools that a person must approve before each call.")
    allowed_users = NamesField(
        get_user_model().objects, "username", help_text="Of a restricted agent: users. Told to administrators only."
    )
    allowed_groups = NamesField(
        Group.objects, "name", help_text="Of a restricted agent: groups. Told to administrators only."
    )

    class Meta:
        model = Agent
        fields = (
            "name",
            "role",
            "description",
            "system_prompt",
            "provider",
            "model",
            "parameters",
            "mcp_servers",
            "builtin_tools",
            "allowed_tools",
            "denied_tools",
            "approval_required",
            "approval_timeout",
            "max_iterations",
            "timeout",
            "max_total_tokens",
            "access",
            "allowed_users",
            "allowed_groups",
            "enabled",
            "is_default",
            "created_at",
            "updated_at",
        )

    def to_representation(self, agent: Agent) -> dict[str, Any]:
        said = super().to_representation(agent)
        if not self.context["request"].user.is_superuser:
            del said["allowed_users"], said["allowed_groups"]
        return said


class StartSerializer(Strict):
    """What a run is started with."""

    message = Text(max_length=runs.LONGEST_MESSAGE, help_text="What the agent is asked.")
    session_id = Text(
        required=False,
        validators=[RegexValidator(SESSION_ID, f"It {SESSION_ID_RULE}.")],
        help_text="The session to continue. Left out: a new one.",
    )
    enable_reasoning = Flag(default=True, help_text="Whether the log gets thoughts and pieces, or only the answer.")
    message_id = Text(
        max_length=runs.LONGEST_MESSAGE_ID, required=False, help_text="The same id again is the same run."
    )
    if_busy = Choice(
        choices=["enqueue", "reject", "interrupt"],
        default="enqueue",
        help_text="What to do where a run of the session is going on.",
    )


class AcceptedSerializer(serializers.Serializer):
    """A run that was accepted, or cancelled, in the background."""

    run_id = serializers.UUIDField()
    session_id = serializers.CharField()
    status = serializers.ChoiceField(Run.Status.choices)
    links = serializers.DictField(child=serializers.URLField(), help_text="Where to look next.")


class RunSerializer(serializers.ModelSerializer):
    """One prompt answered."""

    task_id = serializers.UUIDField(allow_null=True, help_text="The task that started it.")
    result = serializers.SerializerMethodField(help_text="The answer; null while there is none.")
    error = serializers.SerializerMethodField(help_text="Why it failed; null where it did not.")
    usage = serializers.DictField(child=serializers.IntegerField(), help_text="Tokens and calls.")
    model = serializers.CharField(help_text="The model that answered; empty until it has.")
    cost = serializers.DecimalField(
        max_digits=20,
        decimal_places=COST_PLACES,
        allow_null=True,
        help_text="US dollars; null until it ended, and where nobody knows the model's price.",
    )

    class Meta:
        model = Run
        fields = (
            "id",
            "session_id",
            "agent_name",
            "task_id",
            "scheduled_for",
            "trigger",
            "status",
            "prompt",
            "result",
            "error",
            "usage",
            "model",
            "cost",
            "attempt",
            "request_id",
            "created_at",
            "started_at",
            "finished_at",
        )
        read_only_fields = fields

    def get_result(self, run: Run) -> str | None:
        return run.result if run.result or run.status == Run.Status.COMPLETED else None

    def get_error(self, run: Run) -> str | None:
        return run.error or None


class StepSerializer(serializers.ModelSerializer):
    """A step of a run, in the words of the frame `reasoning_step`."""

    step = serializers.IntegerField(source="index")
    type = serializers.ChoiceField(Step.Kind.choices, source="kind")
    status = serializers.CharField(help_text="'pending' and 'started', of a call that waits or goes on, or 'finished'.")
    arguments = serializers.DictField(allow_null=True, help_text="Of a tool call; null where they were no object.")
    duration_ms = serializers.IntegerField(allow_null=True)
    attachments = serializers.ListField(
        child=serializers.DictField(), help_text="What the tool returned beside text: `/v1/runs/{id}/artifacts/{id}`."
    )

    class Meta:
        model = Step
        fields = (
            "step",
            "type",
            "iteration",
            "status",
            "content",
            "tool_call_id",
            "tool_name",
            "arguments",
            "is_error",
            "attachments",
            "started_at",
            "finished_at",
            "duration_ms",
        )
        read_only_fields = fields


class SessionSerializer(StrictModel):
    """A conversation. Only its title can be changed."""

    agent_name = serializers.SerializerMethodField(help_text="Who answers where a message names nobody.")

    class Meta:
        model = Session
        fields = ("id", "title", "agent_name", "last_seq", "run_count", "created_at", "updated_at")
        read_only_fields = ("id", "last_seq", "run_count")

    def get_agent_name(self, session: Session) -> str | None:
        return session.agent.name if session.agent else None


class FrameSerializer(serializers.Serializer):
    """An event of the log, as the socket sends it."""

    type = serializers.CharField()
    seq = serializers.IntegerField()
    first = serializers.IntegerField(required=False, help_text="Where it covers more than one number.")
    run_id = serializers.UUIDField(allow_null=True)
    timestamp = serializers.FloatField(help_text="Seconds since the epoch.")
    data = serializers.DictField()  # type: ignore[assignment]


class EventsSerializer(serializers.Serializer):
    """A page of the log."""

    object = serializers.ChoiceField(["list"])
    data = FrameSerializer(many=True)  # type: ignore[assignment]
    has_more = serializers.BooleanField()
    next = serializers.URLField(allow_null=True, help_text="The next page, whole.")
    pruned_seq = serializers.IntegerField(help_text="Events up to this number were deleted for their age.")


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


class RootSerializer(serializers.Serializer):
    """What this server is, and where things are."""

    name = serializers.CharField()
    version = serializers.CharField()
    status = serializers.CharField()
    endpoints = serializers.DictField(child=serializers.CharField())


class InfoSerializer(serializers.Serializer):
    """What this version can do."""

    name = serializers.CharField()
    version = serializers.CharField()
    protocol = serializers.IntegerField(help_text="The version of the frames.")
    mode = serializers.ChoiceField(["embedded", "distributed"])
    auth_required = serializers.BooleanField()
    capabilities = serializers.DictField(child=serializers.BooleanField())
    limits = serializers.DictField(child=serializers.IntegerField())

"""Runs and their steps as JSON."""

from typing import Any

from django.conf import settings
from django.core.validators import RegexValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from agents_app import runs
from agents_app.api.serializers.fields import Choice, ClientTools, Flag, Metadata, Strict, Text, WholeNumber
from agents_app.exceptions import InvalidRequest
from agents_app.files.parts import MOST_PARTS, of_message
from agents_app.models import Run, Step
from agents_app.models.overrides import Overrides
from agents_app.models.runs import COST_PLACES
from agents_app.models.sessions import SESSION_ID, SESSION_ID_RULE


@extend_schema_field({"type": "string", "maxLength": settings.MAX_MESSAGE_CHARACTERS})
class Message(Text):
    """A message that a run can start with."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_blank=True)


_PART_TYPES = {"text": "text", "file": "file_id"}


@extend_schema_field(
    {
        "type": "array",
        "maxItems": MOST_PARTS,
        "items": {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"type": {"type": "string", "enum": [kind]}, name: {"type": "string"}},
                    "required": ["type", name],
                }
                for kind, name in _PART_TYPES.items()
            ]
        },
    }
)
class Parts(serializers.Field):
    """Texts and files of a message, as the client sent them: `files.parts` checks them."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class StartSerializer(Strict):
    """The request to start a run."""

    message = Message(default="", help_text="The message to the agent. Leave out only if `parts` say it.")
    parts = Parts(required=False, help_text="Texts and uploaded files that follow the message.")
    session_id = Text(
        required=False,
        validators=[RegexValidator(SESSION_ID, f"It {SESSION_ID_RULE}.")],
        help_text="The session to continue. Leave out for a new one.",
    )
    enable_reasoning = Flag(default=True, help_text="Whether the log gets thoughts and deltas, or only the answer.")
    tools = ClientTools(required=False, help_text="Tools that you execute: the run waits for their results.")
    metadata = Metadata(help_text="The session's metadata from now on. Leave out to keep what it has.")
    message_id = Text(max_length=runs.LONGEST_MESSAGE_ID, required=False, help_text="The same id returns the same run.")
    priority = WholeNumber(
        default=0,
        min_value=-5,
        max_value=5,
        help_text="-5 to 5. Above 0 for administrators, unless set otherwise.",
    )
    if_busy = Choice(
        choices=["enqueue", "reject", "interrupt", "steer"],
        default="enqueue",
        help_text="What to do if the session has an unfinished run. 'steer': it takes the message while it works.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        overrides = Overrides(client_tools=tuple(attrs.pop("tools", ())))
        return _checked(self, attrs) | {"overrides": overrides}


def _checked(serializer: Strict, attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the values with the text of the message, and its parts if it has files."""
    text, parts = of_message(serializer.context["request"].user, attrs["message"], attrs.get("parts"))
    try:
        runs.validate_message(text, has_files=bool(parts))
    except InvalidRequest as error:
        raise ValidationError({"message": [ErrorDetail(str(error), code="invalid")]}) from None
    return attrs | {"message": text, "parts": parts}


class RegenerateSerializer(Strict):
    """The request for another version of a run."""

    message = Message(
        default="", help_text="The edited message. Leave out with `parts` to repeat the message as it is."
    )
    parts = Parts(required=False, help_text="Texts and uploaded files that follow the edited message.")
    agent_name = Text(required=False, help_text="Another agent, `name` or `name@3`. Leave out for the run's own.")
    session_id = Text(required=False, help_text="A fork that shares the run and gets the new one. Else its session.")
    message_id = Text(max_length=runs.LONGEST_MESSAGE_ID, required=False, help_text="The same id returns the same run.")
    if_busy = Choice(
        choices=["enqueue", "reject", "interrupt"],
        default="enqueue",
        help_text="What to do if the session has an unfinished run.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs["message"] and "parts" not in attrs:
            return attrs | {"message": None}
        return _checked(self, attrs)


class SelectSerializer(Strict):
    """The request to make a run the current one of its versions."""

    session_id = Text(required=False, help_text="A fork that shares the run. Leave out for the run's own session.")


class AcceptedSerializer(serializers.Serializer):
    """A run that was accepted in the background."""

    run_id = serializers.UUIDField()
    session_id = serializers.CharField()
    status = serializers.ChoiceField(Run.Status.choices)
    links = serializers.DictField(child=serializers.URLField(), help_text="URLs of the run.")


class RunSerializer(serializers.ModelSerializer):
    """A run: one prompt and its answer."""

    session_id = serializers.SerializerMethodField(
        help_text="How you address its session: by its name if it is yours, else by its id."
    )
    agent_version = serializers.IntegerField(
        source="agent_version.number",
        allow_null=True,
        help_text="The version of the agent, which the run keeps; null if it is older than versions.",
    )
    task_id = serializers.UUIDField(allow_null=True, help_text="The task that started it.")
    parts = serializers.ListField(
        child=serializers.DictField(), allow_null=True, help_text="Texts and files of the message; null without files."
    )
    result = serializers.SerializerMethodField(help_text="The answer; null until there is one.")
    error = serializers.SerializerMethodField(help_text="Why it failed; null if it did not.")
    usage = serializers.DictField(child=serializers.IntegerField(), help_text="Tokens and calls.")
    provider = serializers.CharField(help_text="The provider of that model.")
    model = serializers.CharField(help_text="The model that answered; empty until then.")
    cost = serializers.DecimalField(
        max_digits=20,
        decimal_places=COST_PLACES,
        allow_null=True,
        help_text="US dollars; null until the run ends, or if the model's price is unknown.",
    )

    class Meta:
        model = Run
        fields = (
            "id",
            "session_id",
            "agent_name",
            "agent_version",
            "task_id",
            "scheduled_for",
            "trigger",
            "status",
            "number",
            "replaces",
            "prompt",
            "parts",
            "result",
            "error",
            "usage",
            "provider",
            "model",
            "cost",
            "context_tokens",
            "context_window",
            "attempt",
            "priority",
            "request_id",
            "created_at",
            "started_at",
            "finished_at",
        )
        read_only_fields = fields

    def get_session_id(self, run: Run) -> str:
        return run.session.address_for(self.context["request"].user)

    def get_result(self, run: Run) -> str | None:
        return run.result if run.result or run.status == Run.Status.COMPLETED else None

    def get_error(self, run: Run) -> str | None:
        return run.error or None


class StepSerializer(serializers.ModelSerializer):
    """A step of a run, as in the frame `reasoning_step`."""

    step = serializers.IntegerField(source="index")
    type = serializers.ChoiceField(Step.Kind.choices, source="kind")
    status = serializers.CharField(help_text="'pending' or 'started' for a call in progress, else 'finished'.")
    arguments = serializers.DictField(allow_null=True, help_text="Of a tool call; null if they were not an object.")
    duration_ms = serializers.IntegerField(allow_null=True)
    attachments = serializers.ListField(
        child=serializers.DictField(), help_text="Files that the tool returned, by `file_id`: `/v1/files/{id}/content`."
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
            "provider",
            "model",
            "started_at",
            "finished_at",
            "duration_ms",
        )
        read_only_fields = fields

"""Runs and their steps as JSON."""

from django.core.validators import RegexValidator
from rest_framework import serializers

from agents_app import runs
from agents_app.api.serializers.fields import Choice, Flag, Strict, Text
from agents_app.models import Run, Step
from agents_app.models.runs import COST_PLACES
from agents_app.models.sessions import SESSION_ID, SESSION_ID_RULE


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

"""What runs wait for, as JSON."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents_app.api.serializers.approvals import Arguments
from agents_app.api.serializers.fields import Choice, Flag, Strict, Text
from agents_app.models import Approval
from agents_app.runs import actions, approvals

STATUSES = {
    Approval.Status.PENDING: "open",
    Approval.Status.APPROVED: "answered",
    Approval.Status.DENIED: "declined",
    Approval.Status.EXPIRED: "expired",
    Approval.Status.CANCELLED: "cancelled",
}


class ActionSerializer(serializers.ModelSerializer):
    """A call that waits for approval, a question of an agent, or a call that the calling program executes."""

    id = serializers.CharField(source="action_id")
    status = serializers.SerializerMethodField()
    run_id = serializers.UUIDField()
    session_id = serializers.SerializerMethodField(help_text="As the caller addresses the session.")
    agent_name = serializers.CharField(source="run.agent_name")
    message = serializers.SerializerMethodField(help_text="The question; else empty.")
    response_schema = serializers.SerializerMethodField(
        help_text="JSON Schema of the `response`, or of the `arguments` of an approval."
    )

    edited_arguments = serializers.DictField(
        allow_null=True, help_text="With which an approved call is made instead; null if nobody changed it."
    )

    class Meta:
        model = Approval
        fields = (
            "id",
            "kind",
            "status",
            "run_id",
            "session_id",
            "agent_name",
            "tool_call_id",
            "tool_name",
            "message",
            "arguments",
            "edited_arguments",
            "response_schema",
            "response",
            "is_error",
            "reason",
            "by",
            "created_at",
            "expires_at",
            "answered_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(list(STATUSES.values())))
    def get_status(self, action: Approval) -> str:
        return STATUSES[Approval.Status(action.status)]

    def get_session_id(self, action: Approval) -> str:
        return action.run.session.address_for(self.context["request"].user)

    def get_message(self, action: Approval) -> str:
        return str(action.arguments.get("question", "")) if action.kind == Approval.Kind.QUESTION else ""

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_response_schema(self, action: Approval) -> dict[str, Any]:
        return approvals.schema_of(action)


class AnswerSerializer(Strict):
    """The answer to an action."""

    outcome = Choice(choices=actions.OUTCOMES, help_text="`answered` approves a call.")
    response = Text(
        required=False,
        allow_null=True,
        default=None,
        help_text="The answer to a question, or the result of a tool, as text.",
    )
    arguments = Arguments(
        required=False,
        allow_null=True,
        default=None,
        help_text="Arguments with which an approved call is made instead.",
    )
    reason = Text(
        max_length=approvals.LONGEST_REASON,
        required=False,
        allow_blank=True,
        default="",
        help_text="A reason for the model.",
    )
    is_error = Flag(default=False, help_text="The result says that the tool failed.")
    for_run = Flag(default=False, help_text="Do not ask about this tool again in this run.")

"""Approvals as JSON."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents_app.api.serializers.fields import Flag, Strict, Text
from agents_app.models import Approval
from agents_app.runs import approvals


@extend_schema_field(OpenApiTypes.OBJECT)
class Arguments(serializers.JSONField):
    """The arguments of a tool: an object."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Enter an object.", code="invalid")
        return super().to_internal_value(data)


class ApproveSerializer(Strict):
    """The answer to a call that waits for approval."""

    tool_call_id = Text(
        max_length=128,
        required=False,
        allow_null=True,
        default=None,
        help_text="Leave out for all waiting calls of the run.",
    )
    approved = Flag(help_text="Whether to make the call.")
    reason = Text(
        max_length=approvals.LONGEST_REASON,
        required=False,
        allow_blank=True,
        default="",
        help_text="A reason for the model.",
    )
    arguments = Arguments(
        required=False,
        allow_null=True,
        default=None,
        help_text="Arguments with which the call is made instead of the model's: all of them, of one call.",
    )
    for_run = Flag(default=False, help_text="Do not ask about this tool again in this run.")


class ApprovalSerializer(serializers.ModelSerializer):
    """A call that needs or needed approval."""

    edited_arguments = serializers.DictField(
        allow_null=True, help_text="With which the call is made instead; null if nobody changed it."
    )

    class Meta:
        model = Approval
        fields = (
            "tool_call_id",
            "tool_name",
            "arguments",
            "edited_arguments",
            "parameters",
            "status",
            "for_run",
            "reason",
            "by",
            "created_at",
            "expires_at",
            "answered_at",
        )
        read_only_fields = fields

"""Tasks as JSON: docs/protocol.md."""

from typing import Any, ClassVar

from django.core.validators import MaxLengthValidator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from agents_app.access import limits
from agents_app.api.serializers.fields import Strict, StrictModel, Text, WholeNumber
from agents_app.api.serializers.runs import Parts
from agents_app.exceptions import AgentNotFound, InvalidRequest
from agents_app.files.parts import checked, joined
from agents_app.models import AgentVersion, Delivery, Run, ScheduledTask, Session, Skip
from agents_app.models.agent_names import find_enabled
from agents_app.models.tasks import LONGEST_PROMPT, validate_webhook_secret
from agents_app.runs.messages import is_too_long, too_long
from agents_app.schedules import LONGEST_VALUE


@extend_schema_field(OpenApiTypes.STR)
class AgentNameField(serializers.Field):
    """An agent that the user may use, by name, or a version of it: `name@3`."""

    default_error_messages: ClassVar = {"invalid": "Use the name of an agent."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            agent, version_id = find_enabled(self.context["request"].user, data[:100])
        except AgentNotFound as error:
            raise serializers.ValidationError(str(error), code="does_not_exist") from None
        return {"agent": agent, "agent_version": AgentVersion.objects.get(pk=version_id) if version_id else None}

    def to_representation(self, task: ScheduledTask) -> str:
        return task.agent_name


@extend_schema_field(OpenApiTypes.STR)
class SessionField(serializers.Field):
    """A session that the user may use: by the name of an own one, or by its id."""

    default_error_messages: ClassVar = {
        "does_not_exist": "There is no session {value!r}.",
        "invalid": "Use the name or id of a session.",
    }

    def to_internal_value(self, data: Any) -> Session:
        if not isinstance(data, str):
            self.fail("invalid")
        session = Session.objects.find(self.context["request"].user, data[:200])
        if session is None:
            self.fail("does_not_exist", value=data[:200])
        return session

    def to_representation(self, session: Session) -> str:
        return session.address_for(self.context["request"].user)


class ScheduleValueField(Text):
    """A text; an interval can be a number too."""

    def to_internal_value(self, data: Any) -> str:
        is_number = isinstance(data, int | float) and not isinstance(data, bool)
        return super().to_internal_value(str(data) if is_number else data)


class TaskSerializer(StrictModel):
    """A prompt for an agent and its schedule."""

    agent_name = AgentNameField(source="*", help_text="The agent that runs it, or `name@3`: always that version.")
    task_prompt = Text(
        default="",
        allow_blank=True,
        max_length=LONGEST_PROMPT,
        help_text="Prompt for the agent each time. Leave out only if `parts` have a file.",
    )
    parts = Parts(required=False, allow_null=True, help_text="Texts and uploaded files that follow the prompt.")
    schedule_value = ScheduleValueField(
        max_length=LONGEST_VALUE, help_text=str(ScheduledTask._meta.get_field("schedule_value").help_text)
    )
    priority = WholeNumber(
        required=False,
        min_value=-5,
        max_value=5,
        help_text="-5 to 5. Above 0 for administrators, unless set otherwise.",
    )
    session_id = SessionField(
        source="kept_session",
        allow_null=True,
        required=False,
        help_text="The session of mode 'kept', which setting it implies. Leave out to create one in the first run.",
    )
    webhook_secret = Text(
        write_only=True,
        required=False,
        allow_blank=True,
        validators=[validate_webhook_secret],
        help_text="Signs the webhook: whsec_ and 24 to 64 random bytes in base64. Never returned.",
    )
    last_run_at = serializers.DateTimeField(read_only=True, default=None, allow_null=True)
    last_status = serializers.ChoiceField(Run.Status.choices, read_only=True, default=None, allow_null=True)
    last_result = serializers.SerializerMethodField(help_text="The answer of the latest run.")
    last_error = serializers.SerializerMethodField(help_text="Why the latest run failed.")
    total_runs = serializers.IntegerField(read_only=True, default=0)
    successful_runs = serializers.IntegerField(read_only=True, default=0)
    failed_runs = serializers.IntegerField(read_only=True, default=0)
    skipped_runs = serializers.IntegerField(read_only=True, default=0, help_text="Due moments without a run.")
    sticky_fields: ClassVar = {"owner", "webhook_secret", "kept_session"}

    class Meta:
        model = ScheduledTask
        fields = (
            "id",
            "name",
            "description",
            "agent_name",
            "task_prompt",
            "parts",
            "schedule_type",
            "schedule_value",
            "timezone",
            "enabled",
            "misfire",
            "misfire_grace",
            "misfire_limit",
            "overlap",
            "jitter",
            "max_retries",
            "retry_delay",
            "timeout",
            "priority",
            "session",
            "session_id",
            "webhook_url",
            "webhook_secret",
            "next_run_at",
            "last_run_at",
            "last_status",
            "last_result",
            "last_error",
            "total_runs",
            "successful_runs",
            "failed_runs",
            "skipped_runs",
            "created_at",
            "updated_at",
        )
        read_only_fields = ("next_run_at",)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("kept_session") is not None:
            attrs.setdefault("session", ScheduledTask.SessionMode.KEPT)
        attrs = super().validate(attrs)
        if attrs.get("session") == ScheduledTask.SessionMode.NEW:
            attrs["kept_session"] = None
        self._check_schedule(attrs)
        if "priority" in attrs:
            limits.check_priority(self.context["request"].user, attrs["priority"])
        self._check_message(attrs)
        return attrs

    def _check_message(self, attrs: dict[str, Any]) -> None:
        """Check the parts, whose files must be the owner's."""
        owner = self.instance.owner if self.instance else self.context["request"].user
        if attrs.get("parts") is not None:
            attrs["parts"] = checked(owner, attrs["parts"]) or None
        prompt, parts = (attrs.get(name, getattr(self.instance, name, None)) for name in ("task_prompt", "parts"))
        text, with_files = joined(prompt or "", parts or [])
        if not text.strip() and not with_files:
            raise serializers.ValidationError(
                {"task_prompt": [ErrorDetail("This field may not be blank.", code="blank")]}
            )
        if is_too_long(text):
            raise InvalidRequest(f"'parts' with 'task_prompt' {too_long()}", param="parts")

    def _check_schedule(self, attrs: dict[str, Any]) -> None:
        def value(name: str) -> Any:
            return attrs.get(name, getattr(self.instance or ScheduledTask(), name))

        if value("enabled"):
            try:
                owner = self.instance.owner if self.instance else self.context["request"].user
                limits.check_schedule(owner, value("schedule_type"), value("schedule_value"))
            except InvalidRequest as error:
                raise serializers.ValidationError({"schedule_value": str(error)}) from None

    def get_last_result(self, task: Any) -> str | None:
        return getattr(task, "last_result", None) or None

    def get_last_error(self, task: Any) -> str | None:
        return getattr(task, "last_error", None) or None


class SkipSerializer(serializers.ModelSerializer):
    """Due moments that were skipped, and why."""

    class Meta:
        model = Skip
        fields = ("scheduled_for", "until", "count", "reason", "message", "created_at")
        read_only_fields = fields


class DeliverySerializer(serializers.ModelSerializer):
    """The delivery of a webhook about a run."""

    run_id = serializers.UUIDField()

    class Meta:
        model = Delivery
        fields = ("id", "run_id", "status", "attempts", "next_attempt_at", "error", "created_at", "delivered_at")
        read_only_fields = fields


class PlannedRunSerializer(serializers.Serializer):
    """A future due moment and its outcome."""

    scheduled_for = serializers.DateTimeField()
    local_time = serializers.SerializerMethodField(help_text="The same in the task's time zone.")
    starts_at = serializers.DateTimeField(allow_null=True, help_text="After its jitter or the run before it.")
    outcome = serializers.ChoiceField(["runs", "waits", "skipped"])
    reason = serializers.CharField(help_text="`normal`, `moved_by_daylight_saving`, `overlap` and so on.")
    message = serializers.CharField(help_text="The reason as a sentence.")

    def get_local_time(self, planned: Any) -> str:
        return planned.local_time.isoformat()


class SimulationSerializer(serializers.Serializer):
    """A preview of a schedule."""

    object = serializers.ChoiceField(["list"])
    data = PlannedRunSerializer(many=True)  # type: ignore[assignment]
    has_more = serializers.BooleanField()
    next = serializers.CharField(allow_null=True)
    enabled = serializers.BooleanField(help_text="If false, none of this happens.")
    duration = serializers.FloatField(help_text="Assumed seconds per run: the median of recent runs.")


class ScheduleSerializer(Strict):
    """A schedule that is not saved."""

    schedule_type = serializers.ChoiceField(ScheduledTask.ScheduleType.choices)
    schedule_value = ScheduleValueField(validators=[MaxLengthValidator(LONGEST_VALUE)])
    timezone = Text(default="UTC")
    count = WholeNumber(default=10, min_value=1, max_value=1000)

"""What happens: sessions, the runs in them, and the steps of a run."""

import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from agents_app.models.agents import Agent

COST_PLACES = 10  # decimals of a US dollar: a token may cost a ten-millionth
# Not '.' and '..': clients take these for folders, so that no address could name the session.
SESSION_ID = r"\A(?!\.{1,2}\Z)[A-Za-z0-9_.:-]{1,128}\Z"
SESSION_ID_RULE = "must be 1 to 128 of the characters A-Z a-z 0-9 _ . : - and neither '.' nor '..'"


class SessionQuerySet(models.QuerySet["Session"]):
    def visible_to(self, user) -> "SessionQuerySet":
        """The sessions that `user` may read and drive: one's own; an administrator's are all."""
        return self if user.is_superuser else self.filter(owner=user)


class Session(models.Model):
    """A conversation: its log counts 1, 2, 3 …, and every watcher reads the same."""

    id = models.CharField(primary_key=True, max_length=128, validators=[RegexValidator(SESSION_ID)])
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    agent = models.ForeignKey(
        Agent,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Who answers where a message names nobody.",
    )
    title = models.CharField(max_length=200, blank=True)
    last_seq = models.BigIntegerField(default=0, help_text="The number of the newest event.")
    pruned_seq = models.BigIntegerField(default=0, help_text="Events up to this number were pruned.")
    run_count = models.BigIntegerField(default=0, help_text="The number of the newest run.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    _COUNTED: ClassVar = {"last_seq", "pruned_seq", "run_count"}

    objects = SessionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "id"]
        indexes: ClassVar = [models.Index(fields=["-created_at", "id"], name="session_newest")]

    def __str__(self) -> str:
        return self.title or self.id

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Save it; but of one that there is, unless they are named, not its log's numbers, which go on meanwhile."""
        if update_fields is None and not self._state.adding:
            fields = (field.name for field in self._meta.concrete_fields if not field.primary_key)
            update_fields = [name for name in fields if name not in self._COUNTED]
        super().save(*args, update_fields=update_fields, **kwargs)


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user) -> "RunQuerySet":
        """The runs of the sessions that `user` may see."""
        return self if user.is_superuser else self.filter(session__owner=user)

    def unfinished(self) -> "RunQuerySet":
        return self.filter(status__in=Run.UNFINISHED)

    def waiting_for_a_worker(self) -> "RunQuerySet":
        """The queued ones that are first in their session: what waits behind a run of its own does not count."""
        ahead = Run.objects.unfinished().filter(
            session=models.OuterRef("session"), number__lt=models.OuterRef("number")
        )
        return self.filter(~models.Exists(ahead), status=Run.Status.QUEUED)

    def owned(self, run_id: uuid.UUID, fence: int) -> "RunQuerySet":
        """The run, if `fence` still is its fence: what a worker's every write goes through."""
        return self.filter(pk=run_id, fence=fence, status=Run.Status.RUNNING)


class Run(models.Model):
    """One prompt answered: from the moment it was accepted to exactly one end."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        WAITING = "waiting"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    UNFINISHED: ClassVar = (Status.QUEUED, Status.RUNNING, Status.WAITING)

    class Trigger(models.TextChoices):
        CHAT = "chat"
        API = "api"
        SCHEDULE = "schedule"
        MCP = "mcp"
        ADMIN = "admin"
        AGENT = "agent"  # another agent asked

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="runs")
    number = models.BigIntegerField(help_text="Its place in the session: 1, 2, 3 …; runs go in this order.")
    agent = models.ForeignKey(Agent, null=True, on_delete=models.SET_NULL, related_name="runs")
    agent_name = models.CharField(max_length=64, help_text="The agent's name when the run was accepted.")
    trigger = models.CharField(max_length=16, choices=Trigger, default=Trigger.API)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children", help_text="Who asked for it."
    )
    task = models.ForeignKey(
        "agents_app.ScheduledTask",
        null=True,
        blank=True,
        db_index=False,  # see the indexes below
        on_delete=models.SET_NULL,
        related_name="runs",
        help_text="The task that started it.",
    )
    scheduled_for = models.DateTimeField(null=True, blank=True, help_text="The moment that the task was due.")
    retry = models.PositiveIntegerField(default=0, help_text="Which repetition after a failure this is.")
    settled = models.BooleanField(default=False, help_text="Its task has seen how it ended.")
    prompt = models.TextField()
    enable_reasoning = models.BooleanField(default=True)
    message_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001 — NULL is "none" in the unique constraint
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    given = models.JSONField(
        null=True, blank=True, help_text="What the caller gave for this run alone; see `runs.start`."
    )
    result = models.TextField(blank=True)
    truncated = models.BooleanField(default=False, help_text="The answer stopped at the model's limit of length.")
    error = models.TextField(blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    usage = models.JSONField(default=dict, blank=True)
    model = models.CharField(max_length=200, blank=True, help_text="The model that answered.")
    cost = models.DecimalField(
        max_digits=20,
        decimal_places=COST_PLACES,
        null=True,
        blank=True,
        help_text="US dollars; empty where nobody knows the model's price.",
    )
    # What the usage says, for sums over many runs. Not generated columns: SQLite reads the whole row for such a one.
    input_tokens = models.BigIntegerField(null=True, blank=True)
    output_tokens = models.BigIntegerField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0, help_text="How many workers have taken it.")
    fence = models.BigIntegerField(default=0, help_text="Counts claims; a worker with an older number writes nothing.")
    worker = models.CharField(max_length=64, blank=True, help_text="The worker process that has it.")
    lease_until = models.DateTimeField(null=True, blank=True, help_text="After this its worker counts as dead.")
    cancel_requested = models.BooleanField(default=False)
    cancelled_by = models.CharField(max_length=150, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    request_id = models.CharField(max_length=128, blank=True, help_text="Of the request that started it.")
    traceparent = models.CharField(max_length=64, blank=True, help_text="The span that started it, of OpenTelemetry.")
    first_seq = models.BigIntegerField(null=True, blank=True, help_text="Its first event in the session's log.")
    last_seq = models.BigIntegerField(null=True, blank=True, help_text="Its last event in the session's log.")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "number"], name="run_number_in_session"),
            models.UniqueConstraint(
                fields=["session", "message_id"],
                condition=Q(message_id__isnull=False),
                name="run_once_per_message_id",
            ),
            models.UniqueConstraint(
                fields=["session"], condition=Q(status="running"), name="run_one_running_per_session"
            ),
            models.UniqueConstraint(fields=["task", "scheduled_for", "retry"], name="run_once_per_due_moment"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["created_at"],
                condition=Q(status__in=["queued", "running", "waiting"]),
                name="run_unfinished",
            ),
            models.Index(fields=["-created_at"], name="run_newest"),
            # Not the one above alone: SQLite knows the condition only where it is written word for word.
            models.Index(fields=["status", "-created_at"], name="run_by_status"),
            # All that the sums per day, agent and user need, so that they read nothing but this.
            models.Index(
                fields=[
                    "finished_at",
                    "agent_name",
                    "status",
                    "session",
                    "input_tokens",
                    "output_tokens",
                    "cost",
                    "created_at",
                    "started_at",
                ],
                name="run_finished",
            ),
            models.Index(fields=["task", "-created_at"], condition=Q(task__isnull=False), name="run_of_task"),
            models.Index(fields=["task", "status"], condition=Q(task__isnull=False), name="run_counts_of_task"),
            models.Index(
                fields=["status", "task"], condition=Q(task__isnull=False, settled=False), name="run_unsettled"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent_name} · {self.prompt[:60]}"

    @property
    def is_finished(self) -> bool:
        return self.status not in self.UNFINISHED

    @staticmethod
    def used(usage: dict[str, int]) -> dict[str, Any]:
        """The columns that say what a run used up."""
        return {"usage": usage, "input_tokens": usage["input_tokens"], "output_tokens": usage["output_tokens"]}


class OfRunQuerySet(models.QuerySet):
    """Rows that belong to a run."""

    def visible_to(self, user):
        """Those of the runs that `user` may see."""
        return self if user.is_superuser else self.filter(run__session__owner=user)


class StepQuerySet(OfRunQuerySet):
    def in_order(self) -> "StepQuerySet":
        return self.order_by("run__number", "index")


class Step(models.Model):
    """A finished thought, tool call, tool result or answer: the checkpoint that a run goes on from.

    A `tool_result` row is written as *started* before the tool is called: the tool ledger.
    """

    class Kind(models.TextChoices):
        THOUGHT = "thought"
        TOOL_USE = "tool_use"
        TOOL_RESULT = "tool_result"
        FINAL_ANSWER = "final_answer"
        ERROR = "error"

    class Status(models.TextChoices):
        PENDING = "pending"  # a person is asked first
        STARTED = "started"
        FINISHED = "finished"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    index = models.PositiveIntegerField()
    iteration = models.PositiveIntegerField(help_text="The model turn that it belongs to: 1, 2, 3 …")
    kind = models.CharField(max_length=16, choices=Kind)
    status = models.CharField(max_length=16, choices=Status, default=Status.FINISHED)
    content = models.TextField(blank=True)
    tool_call_id = models.CharField(max_length=128, blank=True)
    tool_name = models.CharField(max_length=128, blank=True)
    arguments = models.JSONField(null=True, blank=True)
    is_error = models.BooleanField(default=False)
    provider_data = models.JSONField(default=dict, blank=True, help_text="What the model's API wants back as it was.")
    attachments = models.JSONField(default=list, blank=True, help_text="What the tool returned beside text: artifacts.")
    usage = models.JSONField(default=dict, blank=True, help_text="Tokens of the run up to and with this step.")
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = StepQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["run", "index"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "index"], name="step_index_in_run"),
        ]

    def __str__(self) -> str:
        return f"{self.index} {self.kind} {self.tool_name}".rstrip()

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from start to end; None while it goes on."""
        if self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds() * 1000)


class Artifact(models.Model):
    """What a tool returned and no model reads: an image, a long text, a file. Kept once; a step refers to it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="artifacts")
    kind = models.CharField(max_length=16)
    media_type = models.CharField(max_length=100)
    name = models.CharField(max_length=200, blank=True)
    size = models.BigIntegerField(help_text="Bytes.")
    data = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OfRunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["created_at"]
        indexes: ClassVar = [models.Index(fields=["-created_at"], name="artifact_newest")]

    def __str__(self) -> str:
        return self.name or f"{self.media_type}, {self.size} bytes"


class Approval(models.Model):
    """A call that a person must approve: asked once, answered once."""

    class Status(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        DENIED = "denied"
        EXPIRED = "expired"
        CANCELLED = "cancelled"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="approvals")
    step = models.PositiveIntegerField(help_text="Index of the step that will hold the result.")
    tool_call_id = models.CharField(max_length=128)
    tool_name = models.CharField(max_length=128)
    arguments = models.JSONField(default=dict)
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    for_run = models.BooleanField(default=False, help_text="Approved for the rest of the run.")
    reason = models.TextField(blank=True)
    by = models.CharField(max_length=150, blank=True, help_text="Who answered; empty where nobody did in time.")
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    objects = OfRunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["created_at", "step"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "step"], name="approval_once_per_step"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["expires_at"], condition=Q(status="pending"), name="approval_pending"),
        ]

    def __str__(self) -> str:
        return f"{self.tool_name}: {self.status}"

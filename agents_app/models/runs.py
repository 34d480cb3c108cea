"""Runs: prompts that agents answer."""

import uuid
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from agents_app.models.agent_versions import AgentVersion
from agents_app.models.agents import Agent
from agents_app.models.overrides import Overrides, OverridesField
from agents_app.models.sessions import Session

# A run waits until every run before it in its session has ended. The condition on `run` of statements by hand;
# `RunQuerySet.waiting_for_a_worker` is the same for the ORM.
FIRST_IN_SESSION = """NOT EXISTS (
    SELECT 1 FROM agents_app_run AS ahead WHERE ahead.session_id = run.session_id
        AND ahead.number < run.number AND ahead.status IN ('queued', 'running', 'waiting'))"""
# The run that is first in a session: the one in progress, or the next one. By hand, because every run needs it twice.
NEXT_OF_SESSION = """SELECT id, status, priority FROM agents_app_run
    WHERE session_id = %(session)s AND status IN ('queued', 'running', 'waiting') ORDER BY number LIMIT 1"""
LOWEST_PRIORITY, HIGHEST_PRIORITY = -5, 5
COST_PLACES = 10  # decimals of a US dollar: one token can cost a ten-millionth


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user) -> "RunQuerySet":
        """Return the runs of the sessions that `user` may see."""
        if user.is_superuser:
            return self.filter(session__deleted_at=None)
        return self.filter(session__owner=user)

    def to_answer(self) -> "RunQuerySet":
        """Read what the API answers of a run beside its row."""
        return self.select_related("session", "agent_version").defer("agent_version__spec")

    def unfinished(self) -> "RunQuerySet":
        return self.filter(status__in=Run.UNFINISHED)

    def waiting_for_a_worker(self) -> "RunQuerySet":
        """Return the queued runs that are first in their session: the others wait for their session, not a worker."""
        ahead = Run.objects.unfinished().filter(
            session=models.OuterRef("session"), number__lt=models.OuterRef("number")
        )
        return self.filter(~models.Exists(ahead), status=Run.Status.QUEUED)


class Run(models.Model):
    """One prompt, from its acceptance to exactly one end."""

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
        AGENT = "agent"  # started by another agent

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="runs")
    number = models.BigIntegerField(help_text="Place in the session: 1, 2, 3 …. Runs are executed in this order.")
    follows = models.BigIntegerField(
        null=True,
        editable=False,
        help_text="Number of the run that it continues; 0 for none. Empty for the one before it.",
    )
    replaces = models.UUIDField(null=True, editable=False, help_text="Run of which this one is another version.")
    agent = models.ForeignKey(Agent, null=True, on_delete=models.SET_NULL, related_name="runs")
    agent_version = models.ForeignKey(
        AgentVersion,
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="runs",
        db_index=False,  # one more index to write for each run: its runs are found by the agent's
        help_text="Version of the agent when the run was accepted, which it keeps.",
    )
    agent_name = models.CharField(max_length=64, help_text="Name of the agent when the run was accepted.")
    trigger = models.CharField(max_length=16, choices=Trigger, default=Trigger.API)
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="children",
        help_text="Run whose agent started this one.",
    )
    task = models.ForeignKey(
        "agents_app.ScheduledTask",
        null=True,
        blank=True,
        db_index=False,  # see the indexes below
        on_delete=models.SET_NULL,
        related_name="runs",
        help_text="Task that started the run.",
    )
    scheduled_for = models.DateTimeField(null=True, blank=True, help_text="Moment at which the task was due.")
    retry = models.PositiveIntegerField(
        default=0,
        help_text="Number of the retry after a failure; 0 for the first attempt.",
    )
    settled = models.BooleanField(default=False, help_text="Whether the scheduler has processed the end of the run.")
    steers = models.UUIDField(
        null=True, editable=False, help_text="Run that takes this one's message if it can, before this one begins."
    )
    is_steered = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="Whether messages wait to be taken by the run."
    )
    prompt = models.TextField(help_text="Text of the message, without its files.")
    parts = models.JSONField(null=True, blank=True, help_text="Texts and files of the message, if it has files.")
    enable_reasoning = models.BooleanField(default=True)
    message_id = models.CharField(max_length=128, null=True, blank=True)  # noqa: DJ001 — NULL is "none" in the unique constraint
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    overrides = OverridesField(
        null=True, blank=True, default=Overrides, help_text="Options of this run alone; see `Overrides`."
    )
    variables = models.JSONField(
        null=True, blank=True, editable=False, help_text="Values of the prompt's variables when the run was accepted."
    )
    result = models.TextField(blank=True)
    truncated = models.BooleanField(default=False, help_text="Whether the answer reached the model's length limit.")
    error = models.TextField(blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    usage = models.JSONField(default=dict, blank=True)
    provider = models.CharField(max_length=64, blank=True, help_text="Provider of the model that answered.")
    model = models.CharField(max_length=200, blank=True, help_text="Model that answered.")
    cost = models.DecimalField(
        max_digits=20,
        decimal_places=COST_PLACES,
        null=True,
        blank=True,
        help_text="US dollars; empty if the price of the model is unknown.",
    )
    context_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tokens of the model's window that the last request and its answer took."
    )
    context_window = models.PositiveIntegerField(
        null=True, blank=True, help_text="Window of the model that answered, in tokens."
    )
    # Copies from the usage, for sums over many runs. Not generated columns: SQLite reads the whole row for those.
    input_tokens = models.BigIntegerField(null=True, blank=True)
    output_tokens = models.BigIntegerField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0, help_text="Number of workers that have claimed the run.")
    takeovers = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="Number of workers in a row that stopped answering while they executed the run.",
    )
    fence = models.BigIntegerField(
        default=0,
        help_text="Counts claims. A worker with an older number can write nothing.",
    )
    worker = models.CharField(max_length=64, blank=True, help_text="Worker process that executes the run.")
    lease_until = models.DateTimeField(null=True, blank=True, help_text="Moment after which the worker counts as dead.")
    cancel_requested = models.BooleanField(default=False)
    cancelled_by = models.CharField(max_length=150, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    priority = models.SmallIntegerField(
        default=0,
        db_default=0,
        help_text="-5 to 5. Of runs whose owners have as many in progress, the highest is next.",
    )
    request_id = models.CharField(max_length=128, blank=True, help_text="Id of the request that started the run.")
    token = models.UUIDField(
        null=True, blank=True, editable=False, help_text="`uid` of the API token that started the run, for budgets."
    )
    traceparent = models.CharField(max_length=64, blank=True, help_text="OpenTelemetry span that started the run.")
    first_seq = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="Number of the run's first event in the log of the session.",
    )
    last_seq = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="Number of the run's last event in the log of the session.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()
    budget_left: Any = None  # of a run that was started a moment ago: see `runs.Started`

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
            # The next run of a session, however many have ended: see FIRST_IN_SESSION.
            models.Index(
                fields=["session", "number"],
                condition=Q(status__in=["queued", "running", "waiting"]),
                name="run_unfinished_of_session",
            ),
            # Whether there are runs to prefer: it is empty if nobody sets priorities.
            models.Index(
                fields=["priority"],
                condition=Q(status__in=["queued", "running", "waiting"]) & ~Q(priority=0),
                name="run_prioritized",
            ),
            models.Index(fields=["-created_at"], name="run_newest"),
            # In addition to the one above, which SQLite uses only if the condition is written word for word.
            models.Index(fields=["status", "-created_at"], name="run_by_status"),
            # Covers the sums per day, agent and user.
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

    @property
    def followed(self) -> int:
        """The number of the run that this one continues; 0 for none. A fork's runs continue its parent's numbers."""
        return self.number - 1 if self.follows is None else self.follows

    @property
    def has_prompt(self) -> bool:
        """Whether there is a message to answer: a caller's conversation may end with results of tools instead."""
        return bool(self.prompt or self.parts)

    @staticmethod
    def used(usage: dict[str, int]) -> dict[str, Any]:
        """Return the columns for a run's usage."""
        return {"usage": usage, "input_tokens": usage["input_tokens"], "output_tokens": usage["output_tokens"]}


class OfRunQuerySet(models.QuerySet):
    """Rows that belong to a run."""

    def visible_to(self, user):
        """Return the rows of the runs that `user` may see."""
        if user.is_superuser:
            return self.filter(run__session__deleted_at=None)
        return self.filter(run__session__owner=user)

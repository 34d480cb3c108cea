"""Scheduled tasks."""

import base64
import binascii
import datetime
import uuid
import zlib
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Coalesce

from agents_app import clock, schedules
from agents_app.models.agent_versions import AgentVersion
from agents_app.models.agents import Agent
from agents_app.models.encryption import EncryptedTextField
from agents_app.models.runs import HIGHEST_PRIORITY, LOWEST_PRIORITY, Run
from agents_app.models.sessions import Session
from agents_app.models.task_outcomes import Skip
from agents_app.notifier import task_changes

LONGEST_PROMPT = 100_000
SECRET_PREFIX = "whsec_"  # noqa: S105 — what Standard Webhooks' secrets begin with
_SECRET_HINT = "For example, the output of `openssl rand -base64 32` with the prefix 'whsec_'."  # noqa: S105
_DAY = 86_400


def validate_webhook_url(value: str) -> None:
    """Reject what is not the address of a webhook."""
    try:
        url = urlsplit(value)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable or not value.isascii() or not value.isprintable() or " " in value:
        raise ValidationError("Enter an address such as https://example.com/hooks/agents.")
    if url.username is not None or url.fragment:
        raise ValidationError("Remove user, password and '#' from the address.")


def validate_webhook_secret(value: str) -> None:
    """Reject what is not a secret of Standard Webhooks."""
    try:
        key = base64.b64decode(value.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not value.startswith(SECRET_PREFIX) or not 24 <= len(key) <= 64:
        raise ValidationError(f"Enter 'whsec_' and 24 to 64 bytes in base64. {_SECRET_HINT}")


class ScheduledTaskQuerySet(models.QuerySet["ScheduledTask"]):
    def visible_to(self, user) -> "ScheduledTaskQuerySet":
        """Return the tasks that `user` may read and change: their own; all for an administrator."""
        return self if user.is_superuser else self.filter(owner=user)

    def lock_for_firing(self) -> "ScheduledTaskQuerySet":
        """Lock these tasks, and load their agents and owners; leave out those that another process has locked."""
        return self.select_related("agent", "owner").select_for_update(of=("self",), skip_locked=True)

    def with_results(self) -> "ScheduledTaskQuerySet":
        """Add the totals of their runs: `total_runs`, `last_status` and so on."""
        runs = Run.objects.filter(task=models.OuterRef("pk"))
        newest = runs.order_by("-created_at")

        def total(queryset: Any, aggregate: Any) -> Any:
            totals = queryset.order_by().values("task").annotate(n=aggregate).values("n")
            return Coalesce(models.Subquery(totals), 0)

        return self.annotate(
            total_runs=total(runs, models.Count("*")),
            successful_runs=total(runs.filter(status=Run.Status.COMPLETED), models.Count("*")),
            failed_runs=total(runs.filter(status=Run.Status.FAILED), models.Count("*")),
            skipped_runs=total(Skip.objects.filter(task=models.OuterRef("pk")), models.Sum("count")),
            last_run_at=models.Subquery(newest.values("created_at")[:1]),
            last_status=models.Subquery(newest.values("status")[:1]),
            last_result=models.Subquery(newest.values("result")[:1]),
            last_error=models.Subquery(newest.values("error")[:1]),
        )


class ScheduledTask(models.Model):
    """A prompt for an agent, and a schedule. Each due moment becomes one run, or a skip with a reason."""

    class ScheduleType(models.TextChoices):
        CRON = "cron", "cron line"
        INTERVAL = "interval", "every so many seconds"
        ONCE = "once", "once"

    class Misfire(models.TextChoices):
        SKIP = "skip", "skip: do not run missed moments"
        ONCE = "once", "once: one run for all missed moments"
        ALL = "all", "all: one run for each missed moment, up to the limit"

    class Overlap(models.TextChoices):
        ALLOW = "allow", "allow: start in parallel"
        SKIP = "skip", "skip: do not run this moment"
        QUEUE = "queue", "queue: start after the previous run"
        CANCEL_PREVIOUS = "cancel_previous", "cancel_previous: stop the previous run"

    class SessionMode(models.TextChoices):
        NEW = "new", "new: a new session for each run"
        KEPT = "kept", "kept: one session, so that each run remembers the previous ones"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="User who owns the sessions of its runs.",
    )
    name = models.CharField(max_length=200, help_text="Name for people.")
    description = models.TextField(blank=True, help_text="Purpose of the task.")
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="tasks", help_text="Agent that does it.")
    agent_version = models.ForeignKey(
        AgentVersion,
        null=True,
        editable=False,
        db_index=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Version of the agent that does it. Empty for the one that is current when a run starts.",
    )
    task_prompt = models.TextField(
        validators=[MaxLengthValidator(LONGEST_PROMPT)],
        help_text="Prompt for the agent each time.",
    )
    parts = models.JSONField(null=True, blank=True, help_text="Texts and files of the prompt, if it has files.")
    schedule_type = models.CharField(
        max_length=16, choices=ScheduleType, default=ScheduleType.CRON, help_text="Type of the schedule."
    )
    schedule_value = models.CharField(
        max_length=schedules.LONGEST_VALUE,
        help_text="cron: five fields such as 0 9 * * MON-FRI, or @daily. interval: seconds, such as 300. "
        "once: a moment such as 2026-12-01T09:00:00+01:00.",
    )
    timezone = models.CharField(
        max_length=64, default="UTC", help_text="Time zone of the schedule, an IANA name such as Europe/Berlin."
    )
    enabled = models.BooleanField(default=True, help_text="A disabled task is never due.")
    misfire = models.CharField(
        max_length=16,
        choices=Misfire,
        default=Misfire.ONCE,
        help_text="What to do about moments at which no server ran.",
    )
    misfire_grace = models.PositiveIntegerField(
        default=60,
        validators=[MaxValueValidator(30 * _DAY)],
        help_text="Grace period in seconds: a moment that is later than this counts as missed.",
    )
    misfire_limit = models.PositiveIntegerField(
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="For 'all': limit on the missed moments to run, newest first.",
    )
    overlap = models.CharField(
        max_length=16,
        choices=Overlap,
        default=Overlap.SKIP,
        help_text="What to do if the previous run is still in progress.",
    )
    jitter = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(_DAY)],
        help_text="Start up to this many seconds late, at random, so that tasks do not all start together.",
    )
    max_retries = models.PositiveIntegerField(
        default=0, validators=[MaxValueValidator(20)], help_text="Number of retries after a failed run."
    )
    retry_delay = models.PositiveIntegerField(
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(_DAY)],
        help_text="Seconds before the first retry. The delay doubles with each retry, up to a day.",
    )
    timeout = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(_DAY)],
        help_text="Limit on the seconds of one run. Leave empty to use the agent's.",
    )
    priority = models.SmallIntegerField(
        default=0,
        db_default=0,
        validators=[MinValueValidator(LOWEST_PRIORITY), MaxValueValidator(HIGHEST_PRIORITY)],
        help_text="-5 to 5. Of runs whose owners have as many in progress, the highest is next.",
    )
    session = models.CharField(
        max_length=8, choices=SessionMode, default=SessionMode.NEW, help_text="Sessions of its runs."
    )
    kept_session = models.ForeignKey(
        Session,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="tasks",
        help_text="For 'kept': the session. Leave empty to let the first run create one.",
    )
    webhook_url = models.CharField(
        max_length=1000,
        blank=True,
        validators=[validate_webhook_url],
        help_text="Address that gets a signed POST after each run.",
    )
    webhook_secret = EncryptedTextField(
        blank=True,
        validators=[validate_webhook_secret],
        help_text="Secret that signs the POST: whsec_ and 24 to 64 random bytes in base64. Encrypted at rest.",
    )
    anchor = models.DateTimeField(editable=False, help_text="Moment from which an interval counts.")
    next_due = models.DateTimeField(null=True, editable=False, help_text="Next due moment.")
    next_run_at = models.DateTimeField(null=True, editable=False, help_text="Next due moment plus jitter.")
    last_due = models.DateTimeField(null=True, editable=False, help_text="Last due moment.")
    creation_key = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001 — NULL is "none"
    creation_mark = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text="Digest of the request with that key.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ScheduledTaskQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["creation_key"], name="task_once_per_creation_key"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["next_run_at"], condition=Q(next_run_at__isnull=False), name="task_next"),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the task, and plan its next moment if the schedule changed. Does not undo what fires meanwhile."""
        with transaction.atomic():
            existing = type(self)._base_manager.select_for_update().filter(pk=self.pk).first()
            self._plan(existing)
            super().save(*args, **kwargs)
            task_changes.notify_on_commit()

    @property
    def agent_name(self) -> str:
        """The name of the agent, with the version that the task is pinned to."""
        version = self.agent_version if self.agent_version_id else None
        return f"{self.agent.name}@{version.number}" if version else self.agent.name

    def clean(self) -> None:
        self.schedule_value = self.schedule_value.strip()
        if self.agent_version and self.agent_version.agent_id != self.agent_id:
            self.agent_version = None
        if len(self.task_prompt) > settings.MAX_MESSAGE_CHARACTERS:
            limit = f"{settings.MAX_MESSAGE_CHARACTERS:,}"
            text = f"It is longer than {limit} characters, the server's limit (MAX_MESSAGE_CHARACTERS)."
            raise ValidationError({"task_prompt": text})
        if self.session == self.SessionMode.NEW:
            self.kept_session = None
        if self.webhook_url and not self.webhook_secret:
            raise ValidationError({"webhook_secret": f"Enter a secret: webhooks are signed. {_SECRET_HINT}"})
        existing = type(self)._base_manager.filter(pk=self.pk).first()
        self._check_plan(existing)

    def schedule(self) -> schedules.Schedule:
        """Return the schedule.

        Raises:
            BadSchedule: it cannot be parsed.
        """
        return schedules.parse(self.schedule_type, self.schedule_value, self.timezone, self.anchor)

    def delay(self, due: datetime.datetime) -> datetime.timedelta:
        """Return the jitter of the moment `due`: the same on every server."""
        if not self.jitter:
            return datetime.timedelta()
        dice = zlib.crc32(f"{self.pk}@{due.timestamp():.6f}".encode())
        return datetime.timedelta(milliseconds=dice % (self.jitter * 1000))

    def _check_plan(self, existing: "ScheduledTask | None") -> None:
        now = clock.now()
        try:
            schedule = schedules.parse(self.schedule_type, self.schedule_value, self.timezone, self.anchor or now)
        except schedules.BadSchedule as error:
            raise ValidationError({error.field: str(error)}) from None
        if self._needs_plan(existing) and next(schedule.after(now), None) is None:
            raise ValidationError(
                {"schedule_value": f"{self.schedule_value!r} is over: it is {now:%Y-%m-%dT%H:%M:%SZ} now."}
            )

    def _needs_plan(self, existing: "ScheduledTask | None") -> bool:
        return self.enabled and (existing is None or not existing.enabled or self._when() != existing._when())

    def _when(self) -> tuple[Any, ...]:
        return self.schedule_type, self.schedule_value, self.timezone, self.jitter

    def _plan(self, existing: "ScheduledTask | None") -> None:
        now = clock.now()
        if existing is None or existing._when()[:2] != self._when()[:2]:
            self.anchor = now.replace(microsecond=0)
        else:
            self.anchor = existing.anchor
        self.last_due = existing.last_due if existing else None
        if self._needs_plan(existing):
            # A moment that a faster clock has fired is not due again.
            following = next(self.schedule().after(max(now, self.last_due or now)), None)
            self.set_next(following.at if following else None)
        elif self.enabled and existing:
            self.next_due, self.next_run_at = existing.next_due, existing.next_run_at
        else:
            self.set_next(None)

    def set_next(self, due: datetime.datetime | None) -> None:
        """Set the next due moment; None for never."""
        self.next_due = due
        self.next_run_at = due and due + self.delay(due)

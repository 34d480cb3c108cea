"""Outcomes of a task's moments beside runs: skips, postponed runs and webhook deliveries."""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from agents_app.models.runs import Run

_TASK = "agents_app.ScheduledTask"


class Skip(models.Model):
    """Moments of a task at which nothing ran, and why. Consecutive moments with one reason share a row."""

    class Reason(models.TextChoices):
        MISSED = "missed", "no server ran, and the misfire policy skips it"
        OVERLAP = "overlap", "the previous run was in progress"
        QUEUE_FULL = "queue_full", "too many moments were waiting"
        REPLACED = "replaced", "a later moment replaced it"
        DISABLED = "disabled", "the task was disabled while it waited"
        AGENT_UNAVAILABLE = "agent_unavailable", "the agent is disabled"
        SESSION_UNAVAILABLE = "session_unavailable", "somebody else owns its session"
        OWNER_INACTIVE = "owner_inactive", "its owner can no longer sign in"
        NOT_STARTED = "not_started", "it could not be started"

    task = models.ForeignKey(_TASK, on_delete=models.CASCADE, related_name="skips")
    scheduled_for = models.DateTimeField(help_text="First of these moments.")
    until = models.DateTimeField(help_text="Last of these moments.")
    count = models.PositiveIntegerField(
        default=1,
        help_text="Number of these moments; a lower bound if there are very many.",
    )
    reason = models.CharField(max_length=32, choices=Reason)
    message = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-scheduled_for", "-id"]
        indexes: ClassVar = [models.Index(fields=["task", "-until"], name="skip_newest")]

    def __str__(self) -> str:
        return f"{self.count} × {self.reason}"


class Postponed(models.Model):
    """A run that starts later: after the previous one, or as a retry after a failure."""

    class Reason(models.TextChoices):
        QUEUE = "queue"
        RETRY = "retry"
        CATCH_UP = "catch_up"

    task = models.ForeignKey(_TASK, on_delete=models.CASCADE, related_name="postponed")
    scheduled_for = models.DateTimeField()
    retry = models.PositiveIntegerField(default=0)
    reason = models.CharField(max_length=16, choices=Reason)
    not_before = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["scheduled_for", "retry"]
        verbose_name_plural = "postponed"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "scheduled_for", "retry"], name="postponed_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["not_before"], name="postponed_next")]

    def __str__(self) -> str:
        return f"{self.scheduled_for:%Y-%m-%dT%H:%M:%SZ} ({self.reason})"


class Delivery(models.Model):
    """A message about a run to a task's webhook, until it is delivered or abandoned."""

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    task = models.ForeignKey(_TASK, on_delete=models.CASCADE, related_name="deliveries")
    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="delivery")
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    error = models.TextField(blank=True, help_text="Error of the last attempt.")
    created_at = models.DateTimeField(auto_now_add=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        verbose_name_plural = "deliveries"
        indexes: ClassVar = [
            models.Index(fields=["next_attempt_at"], condition=Q(status="pending"), name="delivery_next"),
            models.Index(fields=["task"], condition=Q(status="pending"), name="delivery_pending"),
            models.Index(fields=["-created_at"], name="delivery_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.task}: {self.status}"

"""What comes of a task's moments beside runs: skips, runs that start later, and what a webhook is told."""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from agents_app.models.runs import Run

_TASK = "agents_app.ScheduledTask"


class Skip(models.Model):
    """Moments of a task at which nothing was run, and why. Neighbours of one reason share a row."""

    class Reason(models.TextChoices):
        MISSED = "missed", "no server ran, and the misfire policy lets it go"
        OVERLAP = "overlap", "the run before was going on"
        QUEUE_FULL = "queue_full", "too many moments were waiting"
        REPLACED = "replaced", "a later moment took its place"
        DISABLED = "disabled", "the task was disabled while it waited"
        AGENT_UNAVAILABLE = "agent_unavailable", "the agent is disabled"
        SESSION_UNAVAILABLE = "session_unavailable", "its session is somebody else's"
        OWNER_INACTIVE = "owner_inactive", "its owner may not sign in any more"
        NOT_STARTED = "not_started", "it could not be started"

    task = models.ForeignKey(_TASK, on_delete=models.CASCADE, related_name="skips")
    scheduled_for = models.DateTimeField(help_text="The first of these moments.")
    until = models.DateTimeField(help_text="The last of them.")
    count = models.PositiveIntegerField(default=1, help_text="How many they are; at least, where there are very many.")
    reason = models.CharField(max_length=32, choices=Reason)
    message = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-scheduled_for", "-id"]
        indexes: ClassVar = [models.Index(fields=["task", "-until"], name="skip_newest")]

    def __str__(self) -> str:
        return f"{self.count} × {self.reason}"


class Postponed(models.Model):
    """A run that is to start later: behind the one before, or again after a failure."""

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
    """What a task's webhook is to be told of a run, until it has been told, or is given up."""

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
    error = models.TextField(blank=True, help_text="What came of the last attempt.")
    created_at = models.DateTimeField(auto_now_add=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        verbose_name_plural = "deliveries"
        indexes: ClassVar = [
            models.Index(fields=["next_attempt_at"], condition=Q(status="pending"), name="delivery_next"),
            models.Index(fields=["-created_at"], name="delivery_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.task}: {self.status}"

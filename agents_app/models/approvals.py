"""Tool calls that wait: for a person, to be approved or answered, or for the program that executes them."""

import re
import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from agents_app.models.runs import OfRunQuerySet, Run


class Approval(models.Model):
    """A tool call that somebody must approve, or answer: requested once, answered once."""

    class Status(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        DENIED = "denied"
        EXPIRED = "expired"
        CANCELLED = "cancelled"

    class Kind(models.TextChoices):
        APPROVAL = "approval"
        QUESTION = "question"  # a call of `ask_user`
        CLIENT_TOOL = "client_tool"  # a call that the program which started the run executes

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="approvals")
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.APPROVAL)
    step = models.PositiveIntegerField(help_text="Index of the step that will hold the result.")
    tool_call_id = models.CharField(max_length=128)
    tool_name = models.CharField(max_length=128)
    arguments = models.JSONField(default=dict, help_text="As the model wants to make the call.")
    edited_arguments = models.JSONField(
        null=True,
        blank=True,
        help_text="With which the call is made instead, as the person who approved it wrote them.",
    )
    parameters = models.JSONField(
        default=dict, editable=False, help_text="JSON Schema of the tool's arguments, which edited ones must match."
    )
    tool_digest = models.CharField(
        max_length=32,
        blank=True,
        default="",
        editable=False,
        help_text="What an MCP server said of the tool at the call, as a digest: a changed tool is not called.",
    )
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    for_run = models.BooleanField(default=False, help_text="Approve the tool for the rest of the run.")
    reason = models.TextField(blank=True)
    response = models.TextField(blank=True, help_text="Answer to a question, or result of the calling program.")
    is_error = models.BooleanField(default=False, help_text="The result says that the tool failed.")
    by = models.CharField(max_length=150, blank=True, help_text="User who answered; empty if nobody did in time.")
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    answered_seq = models.BigIntegerField(
        null=True, blank=True, editable=False, help_text="Number of the event that tells the answer."
    )

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

    @property
    def action_id(self) -> str:
        """Return the id by which clients answer it."""
        return action_id(self.run_id, self.step)


def action_id(run_id: uuid.UUID, step: int) -> str:
    """Return the id of what a person must do for a step of a run. It is known before the row is written."""
    return f"act_{run_id.hex}_{step}"


def parse_action_id(text: str) -> tuple[uuid.UUID, int] | None:
    """Return the run and the step of an action; None if no action has this id."""
    match = re.fullmatch(r"act_([0-9a-f]{32})_(\d{1,9})", text, re.ASCII)
    return (uuid.UUID(match[1]), int(match[2])) if match else None

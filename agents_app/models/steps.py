"""The steps of a run."""

from collections.abc import Collection
from typing import ClassVar

from django.db import models

from agents_app.engine.spec import Usage
from agents_app.foreign_text import clean_json
from agents_app.models.runs import OfRunQuerySet, Run


class Step(models.Model):
    """A finished thought, tool call, tool result or answer: the checkpoint from which a run continues.

    A `tool_result` row is written as *started* before the tool is called: the tool ledger.
    """

    class Kind(models.TextChoices):
        THOUGHT = "thought"
        TOOL_USE = "tool_use"
        TOOL_RESULT = "tool_result"
        FINAL_ANSWER = "final_answer"
        ERROR = "error"
        COMPACTION = "compaction"  # its content: the summary that the model gets of what came before

    class Status(models.TextChoices):
        PENDING = "pending"  # waits for approval
        STARTED = "started"
        FINISHED = "finished"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    index = models.PositiveIntegerField()
    iteration = models.PositiveIntegerField(help_text="Model turn of the step: 1, 2, 3 …")
    kind = models.CharField(max_length=16, choices=Kind)
    status = models.CharField(max_length=16, choices=Status, default=Status.FINISHED)
    content = models.TextField(blank=True)
    tool_call_id = models.CharField(max_length=128, blank=True)
    tool_name = models.CharField(max_length=128, blank=True)
    arguments = models.JSONField(null=True, blank=True)
    is_error = models.BooleanField(default=False)
    provider_data = models.JSONField(
        default=dict,
        blank=True,
        help_text="Data that the model's API needs back unchanged.",
    )
    attachments = models.JSONField(default=list, blank=True, help_text="Files that the tool returned.")
    provider = models.CharField(max_length=64, blank=True, help_text="Provider of the model.")
    model = models.CharField(max_length=200, blank=True, help_text="Model that wrote the step. Empty for others.")
    usage = models.JSONField(default=dict, blank=True, help_text="Tokens of the run up to this step, inclusive.")
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = OfRunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["run", "index"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "index"], name="step_index_in_run"),
        ]

    def __str__(self) -> str:
        return f"{self.index} {self.kind} {self.tool_name}".rstrip()

    def clean_texts(self) -> None:
        """Make the texts from outside writable."""
        for name in ("content", "tool_call_id", "tool_name", "arguments", "attachments", "provider_data"):
            setattr(self, name, clean_json(getattr(self, name)))

    @property
    def duration_ms(self) -> int | None:
        """Return the milliseconds from start to end; None while the step is in progress."""
        if self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds() * 1000)


def usage_of(steps: Collection[Step]) -> Usage:
    """Return the newest usage of a run.

    Counters only grow, so take the maximum of each: the step with the highest index may not be the last one written.
    What a step adds to those before it is of the model that wrote it.
    """
    total, place = Usage(), ("", "")
    for step in sorted(steps, key=lambda step: step.index):
        place = (step.provider, step.model) if step.model else place
        own = total.of(place)
        for name, before in total.as_dict().items():
            added = max(step.usage.get(name, 0) - before, 0)
            setattr(total, name, before + added)
            setattr(own, name, getattr(own, name) + added)
    return total

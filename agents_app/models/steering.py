"""Messages that a run took while it worked."""

from typing import ClassVar

from django.db import models

from agents_app.models.runs import OfRunQuerySet, Run
from agents_app.models.sessions import Session


class SteeredMessage(models.Model):
    """A message that entered a run between two of its model turns. Until then it is a queued run of its own."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="+", db_index=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steered")
    iteration = models.PositiveIntegerField(help_text="Model turn before which the run took it.")
    message_id = models.CharField(max_length=128)
    message = models.TextField(help_text="Text of the message, without its files.")
    parts = models.JSONField(null=True, blank=True, help_text="Texts and files of the message, if it has files.")
    created_at = models.DateTimeField(help_text="Moment at which it was sent.")

    objects = OfRunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["run", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "message_id"], name="steered_once_per_message_id"),
        ]

    def __str__(self) -> str:
        return self.message[:60]

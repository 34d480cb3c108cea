"""The event log, which every watcher of a session reads."""

from typing import ClassVar

from django.db import models


class EventQuerySet(models.QuerySet["Event"]):
    def visible_to(self, user) -> "EventQuerySet":
        """Return the events of the sessions that `user` may see."""
        if user.is_superuser:
            return self.filter(session__deleted_at=None)
        return self.filter(session__owner=user)


class Event(models.Model):
    """A row of a session's log, for the numbers `first`..`seq`. Only `agents_app.event_log` writes it.

    `data` is JSON text as watchers get it: the hot path never parses it.
    """

    session = models.ForeignKey(
        "agents_app.Session",
        on_delete=models.CASCADE,
        related_name="events",
        db_index=False,  # the unique constraint begins with it
    )
    seq = models.BigIntegerField()
    first = models.BigIntegerField()
    run_id = models.UUIDField(null=True)  # not a foreign key: its index would cost time for every token
    type = models.CharField(max_length=32)
    data = models.TextField()
    created_at = models.DateTimeField()

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["session", "seq"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "seq"], name="event_seq_in_session"),
            models.CheckConstraint(condition=models.Q(first__lte=models.F("seq")), name="event_first_before_seq"),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} {self.seq} {self.type}"

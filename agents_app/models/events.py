"""The event log: what every watcher of a session reads."""

from typing import ClassVar

from django.db import models


class EventQuerySet(models.QuerySet["Event"]):
    def visible_to(self, user) -> "EventQuerySet":
        """The events of the sessions that `user` may see."""
        return self if user.is_superuser else self.filter(session__owner=user)


class Event(models.Model):
    """One row of a session's log, covering the numbers `first`..`seq`. Written by `agents_app.event_log` alone.

    `data` is JSON text as it goes out to watchers: the hot path never parses it.
    """

    session = models.ForeignKey(
        "agents_app.Session",
        on_delete=models.CASCADE,
        related_name="events",
        db_index=False,  # the unique constraint begins with it
    )
    seq = models.BigIntegerField()
    first = models.BigIntegerField()
    run_id = models.UUIDField(null=True)  # no key: an index on it would cost every token
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

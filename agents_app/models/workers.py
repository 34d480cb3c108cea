"""The processes that execute runs, and their last heartbeats."""

import datetime
from typing import ClassVar

from django.db import models
from django.utils import timezone

SILENT_AFTER = datetime.timedelta(seconds=15)
FORGOTTEN_AFTER = datetime.timedelta(days=1)


class WorkerProcess(models.Model):
    """A worker, as it reports itself. An orderly stop deletes the row; a dead worker keeps it for a day."""

    id = models.CharField(primary_key=True, max_length=64)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    concurrency = models.PositiveIntegerField(help_text="Limit on runs at a time.")
    running = models.PositiveIntegerField(default=0, help_text="Number of runs in progress.")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["started_at", "id"]
        verbose_name_plural = "worker processes"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    @property
    def is_silent(self) -> bool:
        """Return whether the last heartbeat is so old that the worker counts as dead."""
        return self.seen_at < timezone.now() - SILENT_AFTER

    @property
    def load(self) -> int:
        """Return the percentage of its capacity in use."""
        return round(100 * self.running / self.concurrency) if self.concurrency else 0

"""The processes that execute runs, and when each gave its last sign of life."""

import datetime
from typing import ClassVar

from django.db import models
from django.utils import timezone

SILENT_AFTER = datetime.timedelta(seconds=15)
FORGOTTEN_AFTER = datetime.timedelta(days=1)


class WorkerProcess(models.Model):
    """A worker, by its own account. One that ended in good order has no row; one that died keeps it for a day."""

    id = models.CharField(primary_key=True, max_length=64)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    concurrency = models.PositiveIntegerField(help_text="How many runs it takes at a time.")
    running = models.PositiveIntegerField(default=0, help_text="How many it has.")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["started_at", "id"]
        verbose_name_plural = "worker processes"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    @property
    def is_silent(self) -> bool:
        """Whether it has not been heard of for so long that it counts as dead."""
        return self.seen_at < timezone.now() - SILENT_AFTER

    @property
    def load(self) -> int:
        """Percent of its places that are taken."""
        return round(100 * self.running / self.concurrency) if self.concurrency else 0

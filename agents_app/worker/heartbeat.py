"""The workers' heartbeat rows: who works, and how much."""

import os
import socket

from django.db import transaction
from django.utils import timezone

from agents_app.models import WorkerProcess
from agents_app.models.workers import FORGOTTEN_AFTER


def report(worker: str, *, concurrency: int, running: int) -> None:
    """Record that the worker is alive and how many runs it has; delete workers that died long ago."""
    now = timezone.now()
    with transaction.atomic():
        if WorkerProcess.objects.filter(pk=worker).update(seen_at=now, running=running):
            return
        WorkerProcess.objects.filter(seen_at__lt=now - FORGOTTEN_AFTER).delete()
        WorkerProcess.objects.create(
            pk=worker,
            host=socket.gethostname()[:255],
            pid=os.getpid(),
            concurrency=concurrency,
            running=running,
            started_at=now,
            seen_at=now,
        )


def leave(worker: str) -> None:
    """Delete the row of a worker that ends in good order."""
    with transaction.atomic():
        WorkerProcess.objects.filter(pk=worker).delete()


def forget_all() -> None:
    """Delete all rows. For the embedded worker, which shares its database with no other."""
    with transaction.atomic():
        WorkerProcess.objects.all().delete()

"""Workers give signs of life, so that people see who works and how much."""

import os
import socket

from django.utils import timezone

from agents_app.database.threads import write_transaction
from agents_app.models import WorkerProcess
from agents_app.models.workers import FORGOTTEN_AFTER


def report(worker: str, *, concurrency: int, running: int) -> None:
    """Say that the worker lives, and what it has; and forget those that died long ago."""
    now = timezone.now()
    with write_transaction():
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
    """The worker ends in good order."""
    with write_transaction():
        WorkerProcess.objects.filter(pk=worker).delete()


def forget_all() -> None:
    """Nobody else works: for the embedded engine, which nobody else shares a database with."""
    with write_transaction():
        WorkerProcess.objects.all().delete()

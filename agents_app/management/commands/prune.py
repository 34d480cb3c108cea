"""`manage.py prune`: delete events of runs that finished long ago."""

import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from agents_app import log


class Command(BaseCommand):
    help = "Delete the events of runs that finished more than --days days ago. Runs, steps and answers stay."

    def add_arguments(self, parser: Any) -> None:
        default = settings.EVENT_RETENTION_DAYS or None
        parser.add_argument("--days", type=float, default=default, help="Default: EVENT_RETENTION_DAYS.")

    def handle(self, *, days: float | None, **options: Any) -> None:
        if days is None or days < 0:
            raise CommandError("Say how old events must be: --days N, or set EVENT_RETENTION_DAYS.")
        deleted = log.prune(timezone.now() - datetime.timedelta(days=days))
        self.stdout.write(f"{deleted} events deleted.")

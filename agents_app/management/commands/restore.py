"""`manage.py restore`: replace the database with a backup."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from agents_app.maintenance import backups


class Command(BaseCommand):
    help = (
        "Replace the database with a backup. Stop the server first, or all web processes and workers. If anything "
        "fails, the database is unchanged. See docs/data-care.md."
    )
    requires_system_checks: list[str] = []  # the database may be what is broken

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path, help="A file that `manage.py backup` wrote.")
        parser.add_argument("--yes", action="store_true", help="Do not ask for confirmation.")

    def handle(self, *, file: Path, yes: bool, **options: Any) -> None:
        if not yes and input("This replaces everything in the database. Type yes to continue: ") != "yes":
            raise CommandError("Nothing was changed.")
        try:
            backups.restore(file)
        except (backups.BackupFailed, ImproperlyConfigured) as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        self.stdout.write(
            "Restored. If the backup is of an older version, run `manage.py migrate` (on SQLite, `serve` does it)."
        )

"""`manage.py restore`: what `manage.py backup` has written, in the place of the database."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from agents_app.maintenance import backups


class Command(BaseCommand):
    help = (
        "Put a backup in the place of the database; stop the server first, or all web processes and workers. Where "
        "anything goes wrong, the database stays as it was. See docs/data-care.md."
    )
    requires_system_checks: list[str] = []  # the database may be what is broken

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--yes", action="store_true", help="Do not ask.")

    def handle(self, *, file: Path, yes: bool, **options: Any) -> None:
        if not yes and input("What is in the database now will be gone. Type yes: ") != "yes":
            raise CommandError("Nothing was changed.")
        try:
            backups.restore(file)
        except (backups.BackupFailed, ImproperlyConfigured) as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        self.stdout.write(
            "Restored. Run `manage.py migrate` if the backup is of an older version (`serve` does, embedded)."
        )

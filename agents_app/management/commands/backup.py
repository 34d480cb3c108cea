"""`manage.py backup`: the whole database in one file."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from agents_app.maintenance import backups


class Command(BaseCommand):
    help = (
        "Write the whole database, as it is at one moment, into a file for `manage.py restore`. The server may run "
        "meanwhile. PostgreSQL's own pg_dump is used where the database is PostgreSQL. See docs/data-care.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path, help="Must not be there yet.")

    def handle(self, *, file: Path, **options: Any) -> None:
        try:
            backups.backup(file)
        except backups.BackupFailed as error:
            raise CommandError(str(error)) from None
        key = f"{settings.VAR_DIR}/secret_key" if settings.EMBEDDED else "SECRET_KEY"
        self.stdout.write(
            f"{file}: {file.stat().st_size / 1024**2:.1f} MiB. Keep {key} too, elsewhere: without it, stored API keys "
            "cannot be read."
        )

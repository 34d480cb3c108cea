"""`manage.py backup`: the whole database in one file."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from agents_app.maintenance import backups


class Command(BaseCommand):
    help = (
        "Write a snapshot of the whole database to a file for `manage.py restore`, and the contents of files to a "
        "folder beside it, FILE.files, if they are in VAR_DIR. The server may keep running. "
        "For PostgreSQL, this runs pg_dump. See docs/data-care.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path, help="The file to write; it must not exist.")

    def handle(self, *, file: Path, **options: Any) -> None:
        try:
            backups.backup(file)
        except backups.BackupFailed as error:
            raise CommandError(str(error)) from None
        key = f"{settings.VAR_DIR}/secret_key" if settings.EMBEDDED else "SECRET_KEY"
        folder = backups.files_folder(file)
        also = f" The contents of files are in {folder}." if folder.is_dir() else ""
        self.stdout.write(
            f"{file}: {file.stat().st_size / 1024**2:.1f} MiB.{also} Also keep a copy of {key} elsewhere: without it, "
            "stored API keys cannot be read."
        )

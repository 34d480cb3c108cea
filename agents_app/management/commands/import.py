"""`manage.py import`: create the sessions of a file."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents_app.database.readiness import allow_long_transactions
from agents_app.maintenance import transfer


class Command(BaseCommand):
    help = (
        "Create the sessions of a file that `manage.py export` wrote. Sessions that exist already are unchanged. "
        "A file with any error changes nothing. The server may keep running."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", help="The file to read, or - for standard input.")
        parser.add_argument("--owner", help="The user who gets the sessions. Default: the user that the file names.")
        parser.add_argument("--dry-run", action="store_true", help="Print what would be created, and change nothing.")

    def handle(self, *, file: str, owner: str | None, dry_run: bool, **options: Any) -> None:
        allow_long_transactions()
        try:
            with tempfile.TemporaryFile() if file == "-" else Path(file).open("rb") as source:
                if file == "-":
                    shutil.copyfileobj(sys.stdin.buffer, source)
                    source.seek(0)
                result = transfer.import_sessions(source, owner=owner, dry_run=dry_run)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
        except transfer.InvalidFile as error:
            raise CommandError(f"{file}, {error} Nothing was changed.") from None
        would = "would be " if dry_run else ""
        self.stdout.write(f"{len(result.created)} sessions {would}created, {len(result.existing)} exist already.")

"""`manage.py import`: sessions of a file."""

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
        "Make the sessions of a file that `manage.py export` wrote; those that are here already stay as they are. "
        "A file that is wrong anywhere changes nothing. The server may run meanwhile."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", help="The file; - is standard input.")
        parser.add_argument("--owner", help="Whose they are to be. Default: whoever has the name that the file says.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be made, and change nothing.")

    def handle(self, *, file: str, owner: str | None, dry_run: bool, **options: Any) -> None:
        allow_long_transactions()
        try:
            with tempfile.TemporaryFile() if file == "-" else Path(file).open("rb") as source:
                if file == "-":
                    shutil.copyfileobj(sys.stdin.buffer, source)
                    source.seek(0)
                done = transfer.import_sessions(source, owner=owner, dry_run=dry_run)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
        except transfer.Broken as error:
            raise CommandError(f"{file}, {error} Nothing was changed.") from None
        would = "would be " if dry_run else ""
        self.stdout.write(f"{len(done.made)} sessions {would}made, {len(done.known)} were here already.")

"""`manage.py export`: write sessions to a file."""

import sys
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError

from agents_app.maintenance import transfer
from agents_app.models import Session


class Command(BaseCommand):
    help = (
        "Write sessions with their runs, steps, files and events as lines of JSON, for `manage.py import` in any "
        "deployment. The server may keep running. See docs/data-care.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "sessions", nargs="*", metavar="SESSION", help="Names or ids of sessions. Default: all sessions."
        )
        parser.add_argument("--owner", help="Only sessions of this user.")
        parser.add_argument("--output", type=Path, metavar="FILE", help="The file to write. Default: standard output.")

    def handle(self, *, sessions: list[str], owner: str | None, output: Path | None, **options: Any) -> None:
        rows = Session.objects.order_by("created_at", "pk")
        if owner is not None:
            rows = rows.filter(owner__username=owner)
        if sessions:
            rows = rows.named(*sessions)
        names = dict(rows.values_list("pk", "name"))
        ids = list(names)
        if missing := sorted(set(sessions) - names.keys() - set(names.values())):
            raise CommandError(f"There is no session {missing[0]!r}{f' of {owner}' if owner else ''}.")
        count, busy = self._write(ids, output)
        self.stderr.write(f"{count} sessions exported.")
        if busy:
            left_out = ", ".join(names[session_id] for session_id in busy)
            text = f"Left out, because they have a run that has not ended: {left_out}."
            if sessions:
                raise CommandError(text)
            self.stderr.write(text)

    def _write(self, ids: list[str], output: Path | None) -> tuple[int, list[str]]:
        if output is None:
            return transfer.export(ids, sys.stdout.buffer)
        part = output.with_name(f"{output.name}.part")
        try:
            with part.open("wb") as file:
                result = _export_private(file, ids)
            part.replace(output)
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}.") from None
        finally:
            part.unlink(missing_ok=True)
        return result


def _export_private(file: IO[bytes], ids: list[str]) -> tuple[int, list[str]]:
    """Export to a file that only its owner can read: conversations are private."""
    Path(file.name).chmod(0o600)
    return transfer.export(ids, file)

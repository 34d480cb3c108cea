"""`manage.py export`: sessions as a file."""

import sys
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError

from agents_app.maintenance import transfer
from agents_app.models import Session


class Command(BaseCommand):
    help = (
        "Write sessions with their runs, steps, artifacts and events as lines of JSON, for `manage.py import` here or "
        "elsewhere. The server may run meanwhile. See docs/data-care.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("sessions", nargs="*", metavar="SESSION", help="Their ids. Default: all.")
        parser.add_argument("--owner", help="Only this user's.")
        parser.add_argument("--output", type=Path, metavar="FILE", help="Default: standard output.")

    def handle(self, *, sessions: list[str], owner: str | None, output: Path | None, **options: Any) -> None:
        rows = Session.objects.order_by("created_at", "pk")
        if owner is not None:
            rows = rows.filter(owner__username=owner)
        if sessions:
            rows = rows.filter(pk__in=sessions)
        found = list(rows.values_list("pk", flat=True))
        if missing := sorted(set(sessions) - set(found)):
            raise CommandError(f"There is no session {missing[0]!r}{f' of {owner}' if owner else ''}.")
        count, busy = self._write(found, output)
        self.stderr.write(f"{count} sessions exported.")
        if busy:
            said = f"Left out, because a run of theirs goes on: {', '.join(busy)}."
            if sessions:
                raise CommandError(said)
            self.stderr.write(said)

    def _write(self, ids: list[str], output: Path | None) -> tuple[int, list[str]]:
        if output is None:
            return transfer.export(ids, sys.stdout.buffer)
        part = output.with_name(f"{output.name}.part")
        try:
            with part.open("wb") as file:
                result = _private(file, ids)
            part.replace(output)
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}.") from None
        finally:
            part.unlink(missing_ok=True)
        return result


def _private(file: IO[bytes], ids: list[str]) -> tuple[int, list[str]]:
    """Conversations are nobody else's business."""
    Path(file.name).chmod(0o600)
    return transfer.export(ids, file)

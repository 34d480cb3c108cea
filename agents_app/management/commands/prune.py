"""`manage.py prune`: delete old data."""

import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from agents_app.maintenance import retention
from agents_app.models import Session


class Command(BaseCommand):
    help = (
        "Delete old data, a few rows per transaction, while the server runs. Without options, apply "
        "EVENT_RETENTION_DAYS, FILE_RETENTION_DAYS, RUN_RETENTION_DAYS, HISTORY_RETENTION_DAYS and "
        "KEEP_RUNS_PER_SESSION, as a worker does each day at PRUNE_AT. See docs/data-care.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "kinds",
            nargs="*",
            metavar="KIND",
            help="events: what watchers replay; steps and answers stay. files: uploads, and what tools returned. "
            "runs: runs with all that belongs to them, sessions without runs, versions of deleted agents without runs. "
            "history: skips, webhook deliveries, expired sign-ins. Default: events.",
        )
        parser.add_argument("--days", type=float, help="Only data older than this many days.")
        parser.add_argument("--keep", type=int, default=0, help="Keep this many newest runs of each session.")
        parser.add_argument("--session", help="Only of the session of this name or id.")

    def handle(self, *, kinds: list[str], days: float | None, keep: int, session: str | None, **options: Any) -> None:
        if days is None and not keep and not kinds and session is None:
            rules = retention.configured_rules()
            if [rule.kind for rule in rules] == [retention.LEFTOVERS]:
                raise CommandError("Use --days N, or set EVENT_RETENTION_DAYS or another …_RETENTION_DAYS.")
        else:
            rules = self._rules(kinds or ["events"], days, keep, session)
        for rule in rules:
            self.stdout.write(retention.describe(retention.apply(rule)))

    def _rules(self, kinds: list[str], days: float | None, keep: int, session: str | None) -> list[retention.Rule]:
        if unknown := [kind for kind in kinds if kind not in retention.KINDS]:
            raise CommandError(f"Unknown kind {unknown[0]!r}: use {', '.join(retention.KINDS)}.")
        if (days is None and not keep) or (days is not None and days < 0) or keep < 0:
            raise CommandError(
                "Use --days N, the age, or --keep N, the number of runs to keep. Neither may be negative."
            )
        session_id = None if session is None else _session_id(session)
        before = timezone.now() - datetime.timedelta(days=days or 0)
        rules = [retention.Rule(kind, before, keep, session_id) for kind in kinds]
        return [*rules, retention.leftovers()] if "files" in kinds else rules


def _session_id(session: str) -> str:
    """Return the id of the session of that name or id."""
    ids = list(Session.objects.named(session).values_list("pk", flat=True)[:2])
    if not ids:
        raise CommandError(f"There is no session {session!r}.")
    if len(ids) > 1:
        raise CommandError(f"Several users have a session {session!r}: use its id.")
    return ids[0]

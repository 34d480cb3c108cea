"""Retention: delete old data, a few rows per transaction, so that nobody waits for it."""

import datetime
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session as WebSession
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from agents_app import event_log
from agents_app.database.batches import BatchSize
from agents_app.files import saving
from agents_app.maintenance import versions
from agents_app.models import Delivery, File, Run, ScheduledTask, Session, Skip, StoredBytes, TokenUse

KINDS = ("events", "files", "runs", "history")
LEFTOVERS = "leftovers"  # expired files, and bytes of no file: deleted whatever the settings say
_RUNS, _ROWS = 100, 1000  # in one transaction
_GRACE = datetime.timedelta(hours=1)  # for whoever has stored bytes, and is about to write what refers to them


@dataclass(frozen=True, slots=True)
class Rule:
    """Delete what is older than `before`, except of the `keep` newest runs of each session."""

    kind: str
    before: datetime.datetime
    keep: int = 0
    session_id: str | None = None
    sleep: Callable[[float], object] = field(default=time.sleep, compare=False)


def configured_rules(sleep: Callable[[float], object] = time.sleep) -> list[Rule]:
    """Return the rules of the settings …_RETENTION_DAYS that are set, and the one of what nobody needs."""
    ages = {
        "events": settings.EVENT_RETENTION_DAYS,
        "files": settings.FILE_RETENTION_DAYS,
        "runs": settings.RUN_RETENTION_DAYS,
        "history": settings.HISTORY_RETENTION_DAYS,
    }
    now, keep = timezone.now(), settings.KEEP_RUNS_PER_SESSION
    rules = [
        Rule(kind, now - datetime.timedelta(days=days), keep, sleep=sleep) for kind, days in ages.items() if days > 0
    ]
    return [*rules, leftovers(sleep)]


def leftovers(sleep: Callable[[float], object] = time.sleep) -> Rule:
    """Return the rule for expired files, and bytes that no file refers to."""
    return Rule(LEFTOVERS, timezone.now() - _GRACE, sleep=sleep)


def apply(rule: Rule) -> Counter[str]:
    """Delete what the rule covers. Returns the number of rows of each kind."""
    return _DELETE[rule.kind](rule)


def describe(counts: Counter[str]) -> str:
    """Return the counts of `apply` as a sentence."""
    deleted = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{deleted or 'Nothing'} deleted."


def _events(rule: Rule) -> Counter[str]:
    count = event_log.prune(rule.before, keep=rule.keep, session_id=rule.session_id, size=BatchSize(_ROWS, rule.sleep))
    return Counter(events=count)


def _files(rule: Rule) -> Counter[str]:
    """Delete files of runs that ended, and uploads. Steps and messages stay, and still name them."""
    rows = File.objects.filter(created_at__lt=rule.before)
    of_runs = rows.filter(run__finished_at__lt=rule.before, run__number__lte=F("run__session__run_count") - rule.keep)
    if rule.session_id is not None:
        return Counter(files=_delete(of_runs.filter(run__session=rule.session_id), rule, _ROWS))
    return Counter(files=_delete(of_runs, rule, _ROWS) + _delete(rows.filter(run=None), rule, _ROWS))


def _leftovers(rule: Rule) -> Counter[str]:
    """Delete expired files, and bytes that no file refers to."""
    counts: Counter[str] = Counter()  # without what there was nothing of: it is on every day's line
    if count := _delete(File.objects.filter(expires_at__lt=timezone.now()), rule, _ROWS):
        counts["expired files"] = count
    unused = StoredBytes.objects.filter(used_at__lt=rule.before)
    while count := saving.delete_unused(unused, before=rule.before):
        counts["unused contents of files"] += count
        rule.sleep(0)
    return counts


def _runs(rule: Rule) -> Counter[str]:
    """Delete runs with all that belongs to them, sessions without runs, and versions of deleted agents without runs.

    A run is deleted after its events, from the start of its session, so that the end of a conversation stays.
    """
    counts = _events(rule)
    pending = Delivery.objects.filter(run=OuterRef("pk"), status=Delivery.Status.PENDING)
    rows = Run.objects.filter(
        finished_at__lt=rule.before,
        last_seq__lte=F("session__pruned_seq"),
        number__lte=F("session__run_count") - rule.keep,
    ).exclude(Exists(pending))
    rows = rows.exclude(task__isnull=False, settled=False)  # its task has not settled it yet
    if rule.session_id is not None:
        rows = rows.filter(session=rule.session_id)
    counts["runs"] = _delete(rows, rule, _RUNS, first=_detach_children)
    if rule.session_id is None:
        counts["sessions"] = _empty_sessions(rule)
        if unused := versions.prune(BatchSize(_RUNS, rule.sleep)):
            counts["versions of deleted agents"] = unused
    return counts


def _detach_children(ids: list[Any]) -> None:
    """Keep the runs that an agent started in other sessions: they are deleted at their own age."""
    Run.objects.filter(parent__in=ids).update(parent=None)


def _empty_sessions(rule: Rule) -> int:
    unread = Q(last_seq=F("pruned_seq")) | Q(last_seq=F("parent_seq") + 1)  # nothing was said in a fork
    rows = Session.objects.filter(unread, run_count__gt=0, updated_at__lt=rule.before)
    rows = rows.exclude(Exists(Run.objects.filter(session=OuterRef("pk"))))
    rows = rows.exclude(Exists(ScheduledTask.objects.filter(kept_session=OuterRef("pk"))))
    return _delete(rows, rule, _RUNS)


def _history(rule: Rule) -> Counter[str]:
    """Delete history that nothing depends on. None of it belongs to a session."""
    if rule.session_id is not None:
        return Counter()
    finished = Delivery.objects.exclude(status=Delivery.Status.PENDING)
    return Counter(
        {
            "skips": _delete(Skip.objects.filter(until__lt=rule.before), rule, _ROWS),
            "webhook deliveries": _delete(finished.filter(created_at__lt=rule.before), rule, _ROWS),
            "days of token use": _delete(TokenUse.objects.filter(day__lt=rule.before.date()), rule, _ROWS),
            "expired sign-ins": _delete(WebSession.objects.filter(expire_date__lt=timezone.now()), rule, _ROWS),
        }
    )


def _delete(rows: QuerySet[Any], rule: Rule, most: int, first: Callable[[list[Any]], None] = lambda ids: None) -> int:
    """Delete the rows, at most `most` per transaction, after a call of `first` with their ids. Returns their number."""
    deleted, size = 0, BatchSize(most, rule.sleep)
    while True:
        began, limit = time.monotonic(), size.rows
        with transaction.atomic():
            # Others may be about to change a row: a locked one is left for the next time.
            locked = rows.select_for_update(of=("self",), skip_locked=True).order_by("pk")
            ids = list(locked.values_list("pk", flat=True)[:limit])
            first(ids)
            rows.model._default_manager.filter(pk__in=ids).delete()
        deleted += len(ids)
        if len(ids) < limit:
            return deleted
        size.adapt(time.monotonic() - began)


_DELETE: dict[str, Callable[[Rule], Counter[str]]] = {
    "events": _events,
    "files": _files,
    LEFTOVERS: _leftovers,
    "runs": _runs,
    "history": _history,
}

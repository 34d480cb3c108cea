"""Rows of the log: how they read, how numbers are assigned, how they are pruned."""

import datetime
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import F, Q

from agents_app import live
from agents_app.database.batches import Pace
from agents_app.database.threads import write_transaction
from agents_app.live import Frame
from agents_app.models import Event, Run, Session

DELTA = "reasoning_delta"
_FETCHED_AT_ONCE = 10  # a row may be megabytes
_SESSIONS_AT_ONCE = 500
_ROWS_AT_ONCE = 1000  # deleted, at the most


@dataclass(frozen=True, slots=True)
class Row:
    """An event as it is read: `frame` is the JSON text that a watcher gets."""

    first: int
    seq: int
    run_id: uuid.UUID | None
    type: str
    frame: str

    def as_frame(self) -> Frame:
        return Frame(self.first, self.seq, self.type == DELTA, self.frame)


def frame_text(kind: str, seq: int, first: int, run_id: uuid.UUID | None, timestamp: float, data: str) -> str:
    """The frame of PROTOCOL, section 1. `data` is JSON already."""
    span = f'"seq":{seq},"first":{first}' if first != seq else f'"seq":{seq}'
    run = f'"{run_id}"' if run_id else "null"
    return f'{{"type":"{kind}",{span},"run_id":{run},"timestamp":{timestamp},"data":{data}}}'


def read(
    session_id: str, after: int, limit: int = 500, *, run_id: uuid.UUID | None = None, most: int | None = None
) -> list[Row]:
    """The events that follow `after`, oldest first, at most `limit`; of one run where that is given.

    `most`: it ends with the row that brings its data over so many characters.
    """
    found: list[Row] = []
    size = 0
    for kind, seq, first, run, at, data in _columns(session_id, after, limit, run_id, most):
        text = frame_text(kind, seq, first, run, round(at.timestamp(), 3), data)
        found.append(Row(first, seq, run, kind, text))
        size += len(data)
        if most is not None and size > most:
            break
    return found


# One round trip, and no more than is wanted: a server-side cursor takes three, while hundreds of sockets come back.
_BOUNDED = """
SELECT type, seq, first, run_id, created_at, data FROM (
    SELECT *, sum(octet_length(data)) OVER (ORDER BY seq) - octet_length(data) AS before FROM (
        SELECT * FROM agents_app_event WHERE session_id = %s AND seq > %s {condition} ORDER BY seq LIMIT %s
    ) AS next) AS measured
WHERE before <= %s ORDER BY seq
"""


def _columns(
    session_id: str, after: int, limit: int, run_id: uuid.UUID | None, most: int | None
) -> Iterable[tuple[Any, ...]]:
    if connection.vendor == "postgresql" and most is not None:
        condition, parameters = ("AND run_id = %s", [run_id]) if run_id else ("", [])
        with connection.cursor() as cursor:
            cursor.execute(_BOUNDED.format(condition=condition), [session_id, after, *parameters, limit, 4 * most])
            return cursor.fetchall()
    events = Event.objects.filter(session_id=session_id, seq__gt=after).order_by("seq")
    if run_id is not None:
        events = events.filter(run_id=run_id)
    columns = events.values_list("type", "seq", "first", "run_id", "created_at", "data")[:limit]
    return columns.iterator(chunk_size=_FETCHED_AT_ONCE)


def heads(session_ids: Iterable[str]) -> dict[str, int]:
    """The newest number of each of these sessions."""
    return dict(Session.objects.filter(pk__in=list(session_ids)).values_list("id", "last_seq"))


def uuid_value(value: uuid.UUID) -> Any:
    """A uuid as a parameter of SQL written by hand."""
    return value if connection.features.has_native_uuid_field else value.hex


def advance(session_id: str, count: int) -> int:
    """Take `count` numbers of the session in the caller's transaction; returns the number before the first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE agents_app_session SET last_seq = last_seq + %s WHERE id = %s RETURNING last_seq",
            [count, session_id],
        )
        return cursor.fetchone()[0] - count


def record(session_id: str, run_id: uuid.UUID, events: list[tuple[str, dict[str, Any]]]) -> range:
    """Append events in the caller's transaction, and publish them once it is committed. Returns their numbers."""
    at = live.now()
    run = uuid_value(run_id)
    created_at = connection.ops.adapt_datetimefield_value(datetime.datetime.fromtimestamp(at, datetime.UTC))
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        before = advance(session_id, len(events))
        frames = []
        for seq, (kind, data) in enumerate(events, start=before + 1):
            text = orjson.dumps(data).decode()
            cursor.execute(
                "INSERT INTO agents_app_event (session_id, seq, first, run_id, type, data, created_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [session_id, seq, seq, run, kind, text, created_at],
            )
            frames.append(Frame(seq, seq, False, frame_text(kind, seq, seq, run_id, at, text)))
        transaction.on_commit(lambda: live.publish_soon([(session_id, frames)]))
    return range(before + 1, before + 1 + len(events))


def prune(
    before: datetime.datetime,
    *,
    keep: int = 0,
    session_id: str | None = None,
    pace: Pace | None = None,
) -> int:
    """Delete the events of runs that finished before a moment, a few at a time. Returns how many.

    Only from the beginning of a session: its watchers are told up to where (`reset`). `keep`: of each session, so
    many of its newest runs stay whole.
    """
    pace = pace or Pace(_ROWS_AT_ONCE)
    old = Run.objects.filter(
        finished_at__lt=before, last_seq__gt=F("session__pruned_seq"), number__lte=F("session__run_count") - keep
    )
    sessions = old.order_by("session_id").values_list("session_id", flat=True).distinct()
    if session_id is not None:
        sessions = sessions.filter(session=session_id)
    deleted, done = 0, ""
    while found := list(sessions.filter(session_id__gt=done)[:_SESSIONS_AT_ONCE]):
        for each in found:
            deleted += _prune_session(each, before, keep, pace)
        done = found[-1]
    return deleted


def _prune_session(session_id: str, before: datetime.datetime, keep: int, pace: Pace) -> int:
    deleted = 0
    cut = _prunable(session_id, before, keep)
    began = time.monotonic()
    while removed := _delete(session_id, cut, pace.rows):
        deleted += removed
        pace.worked(time.monotonic() - began)
        began = time.monotonic()
    return deleted


def _prunable(session_id: str, before: datetime.datetime, keep: int) -> int:
    """Up to which number a session's events may go: before the first run that is young, unfinished or kept."""
    session = Session.objects.filter(pk=session_id).first()
    if session is None:
        return 0
    cut = session.pruned_seq
    still_there = Q(last_seq__isnull=True) | Q(last_seq__gt=cut)
    runs = Run.objects.filter(still_there, session=session, first_seq__isnull=False).order_by("number")
    for run in runs.only("number", "finished_at", "last_seq").iterator():
        is_young = run.finished_at is None or run.finished_at >= before or run.last_seq is None
        if is_young or run.number > session.run_count - keep:
            break
        cut = max(cut, run.last_seq or 0)  # one that was cancelled in the queue has ended within the one before
    return cut


def _delete(session_id: str, cut: int, batch: int) -> int:
    with write_transaction():
        rows = Event.objects.filter(session_id=session_id, seq__lte=cut).order_by("seq").values_list("seq", flat=True)
        if not (doomed := list(rows[:batch])):
            return 0
        Session.objects.filter(pk=session_id, pruned_seq__lt=doomed[-1]).update(pruned_seq=doomed[-1])
        count, _ = Event.objects.filter(session_id=session_id, seq__lte=doomed[-1]).delete()
        return count

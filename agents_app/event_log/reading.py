"""Read the rows of the log, and write them as frames."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection

from agents_app.event_log import lineage
from agents_app.event_log.vocabulary import EventType
from agents_app.live import Frame
from agents_app.models import Event, Session

_FETCH_SIZE = 10  # rows; one may be megabytes


@dataclass(frozen=True, slots=True)
class Row:
    """An event as it is in the database. `frame`: the JSON text that a watcher gets."""

    first: int
    seq: int
    run_id: uuid.UUID | None
    type: str
    frame: str

    def as_frame(self) -> Frame:
        return Frame(self.first, self.seq, self.type == EventType.REASONING_DELTA, self.frame)


def frame_text(kind: str, seq: int, first: int, run_id: uuid.UUID | None, timestamp: float, data: str) -> str:
    """Return a frame of docs/protocol.md. `data` is JSON."""
    span = f'"seq":{seq},"first":{first}' if first != seq else f'"seq":{seq}'
    run = f'"{run_id}"' if run_id else "null"
    return f'{{"type":"{kind}",{span},"run_id":{run},"timestamp":{timestamp},"data":{data}}}'


def read(
    session_id: str, after: int, limit: int = 500, *, run_id: uuid.UUID | None = None, most: int | None = None
) -> list[Row]:
    """Return at most `limit` events that follow `after`, oldest first; only those of `run_id` if it is set.

    `most`: end with the row whose data exceed this number of characters in all.
    """
    own = _read(session_id, after, limit, run_id=run_id, most=most)
    if run_id is None and own and own[0].first > after + 1:  # a fork's log begins in that of its parent
        return _with_inherited(session_id, after, limit, most, own)
    return own


def _with_inherited(session_id: str, after: int, limit: int, most: int | None, own: list[Row]) -> list[Row]:
    rows: list[Row] = []
    for stretch in lineage.inherited(session_id, after):
        begin = rows[-1].seq if rows else after
        room = None if most is None else most - _size(rows)
        rows += _read(stretch.session_id, begin, limit - len(rows), most=room, upto=stretch.upto)
        if len(rows) >= limit or (most is not None and _size(rows) > most):
            return rows
    for row in own:
        if len(rows) >= limit or (most is not None and _size(rows) > most):
            break
        rows.append(row)
    return rows


def _size(rows: list[Row]) -> int:
    return sum(len(row.frame) for row in rows)


def _read(
    session_id: str,
    after: int,
    limit: int,
    *,
    run_id: uuid.UUID | None = None,
    most: int | None = None,
    upto: int | None = None,
) -> list[Row]:
    rows: list[Row] = []
    size = 0
    for kind, seq, first, run, at, data in _columns(session_id, after, limit, run_id, most):
        if upto is not None and seq > upto:
            break
        text = frame_text(kind, seq, first, run, round(at.timestamp(), 3), data)
        rows.append(Row(first, seq, run, kind, text))
        size += len(data)
        if most is not None and size > most:
            break
    return rows


# One round trip for what is needed: a server-side cursor takes three, and hundreds of sockets may reconnect at once.
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
    return columns.iterator(chunk_size=_FETCH_SIZE)


def name_key(owner_id: int | None, name: str) -> str:
    """Return what watchers of a session that does not exist yet subscribe to. No session has it as its id."""
    return f"{owner_id}/{name}"


def heads(keys: Iterable[str]) -> dict[str, int]:
    """Return the newest number of each of these sessions; for a `name_key`, 1 if there is such a session."""
    ids, names = [], {}
    for key in keys:
        owner_id, is_name, name = key.rpartition("/")
        if is_name:
            names[key] = int(owner_id), name
        else:
            ids.append(key)
    newest = dict(Session.objects.filter(pk__in=ids).values_list("id", "last_seq"))
    if names:
        owners, texts = map(set, zip(*names.values(), strict=True))
        rows = Session.objects.filter(owner__in=owners, name__in=texts).values_list("owner", "name")
        newest |= {key: 1 for owner, name in rows if (key := name_key(owner, name)) in names}
    return newest

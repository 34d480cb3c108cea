"""The writer's statements, by hand and in bulk: through the ORM a row cost five times as much.

Rows are one JSON parameter, which each database takes apart in its own way.
"""

from typing import Any

import orjson
from django.db import connection

_EVENT = "INSERT INTO agents_app_event (session_id, seq, first, run_id, type, data, created_at)"

# SQLite does not return columns of the FROM clause: `take` joins the session's rows.
SQLITE_OWNED = (
    "SELECT r.id, r.fence, r.session_id, r.is_steered FROM json_each(%s) JOIN agents_app_run r"
    " ON r.id = value->>0 AND r.fence = value->>1 AND r.status = 'running'"
)
SQLITE_ADVANCE = (
    "UPDATE agents_app_session SET last_seq = last_seq + (value->>1) FROM json_each(%s)"
    " WHERE agents_app_session.id = value->>0 RETURNING agents_app_session.id, last_seq"
)
SQLITE_INSERT = (
    f"{_EVENT} SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6 FROM json_each(%s)"
)

# Sessions are locked before runs, here and everywhere, so that there is no deadlock. The runs' rows are locked against
# a claim: the next claim sees all that this transaction writes, or this one writes nothing.
POSTGRESQL_TAKE = """
WITH ours AS MATERIALIZED (
    SELECT r.id AS run, r.fence, r.is_steered, s.id AS session, (c.value->>3)::bigint AS n
    FROM json_array_elements(%s::json) AS c
    JOIN agents_app_session AS s ON s.id = c.value->>2
    JOIN agents_app_run AS r
        ON r.id = (c.value->>0)::uuid AND r.fence = (c.value->>1)::bigint AND r.status = 'running'
    ORDER BY s.id FOR UPDATE OF s FOR NO KEY UPDATE OF r)
UPDATE agents_app_session AS t SET last_seq = t.last_seq + ours.n FROM ours WHERE t.id = ours.session
RETURNING ours.run, ours.fence, t.last_seq, ours.is_steered
"""
POSTGRESQL_INSERT = (
    f"{_EVENT} SELECT value->>0, (value->>1)::bigint, (value->>2)::bigint, (value->>3)::uuid, value->>4, value->>5,"
    " (value->>6)::timestamptz FROM json_array_elements(%s::json)"
)


def take(claimed: list[list[Any]]) -> list[tuple[Any, int, int, bool]]:
    """Take numbers for [[run, fence, session, count]…].

    Returns:
        (run, fence, the session's new last_seq, whether messages wait for it) of the runs that are still ours.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL_TAKE, [_json(claimed)])
            return cursor.fetchall()
        counts = {(run, fence): count for run, fence, _, count in claimed}
        cursor.execute(SQLITE_OWNED, [_json(claimed)])
        ours = cursor.fetchall()
        cursor.execute(SQLITE_ADVANCE, [_json([[session, counts[run, fence]] for run, fence, session, _ in ours])])
        newest = dict(cursor.fetchall())
        return [(run, fence, newest[session], bool(is_steered)) for run, fence, session, is_steered in ours]


def insert(events: list[list[Any]]) -> None:
    """Insert [[session, seq, first, run, type, data, created_at]…]."""
    statement = POSTGRESQL_INSERT if connection.vendor == "postgresql" else SQLITE_INSERT
    with connection.cursor() as cursor:
        cursor.execute(statement, [_json(events)])


def _json(rows: list[list[Any]]) -> str:
    return orjson.dumps(rows).decode()

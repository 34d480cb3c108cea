"""The statements of the writer, by hand and in bulk: through the ORM a row cost five times as much.

Rows come as one JSON parameter, which each database takes apart in its own words.
"""

from dataclasses import dataclass

from django.db import connection


@dataclass(frozen=True, slots=True)
class Statements:
    """`lock` [[session]…] · `owned` [[run, fence]…] → run, fence · `advance` [[session, count]…] → session, last_seq ·
    `insert` [[session, seq, first, run, type, data, created_at]…]."""

    lock: str | None
    owned: str
    advance: str
    insert: str


_EVENT = "INSERT INTO agents_app_event (session_id, seq, first, run_id, type, data, created_at)"

_SQLITE = Statements(
    lock=None,  # a transaction that writes has the whole database
    owned=(
        "SELECT r.id, r.fence FROM json_each(%s) JOIN agents_app_run r"
        " ON r.id = value->>0 AND r.fence = value->>1 AND r.status = 'running'"
    ),
    advance=(
        "UPDATE agents_app_session SET last_seq = last_seq + (value->>1) FROM json_each(%s)"
        " WHERE agents_app_session.id = value->>0 RETURNING agents_app_session.id, last_seq"
    ),
    insert=(
        f"{_EVENT} SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6"
        " FROM json_each(%s)"
    ),
)

# Sessions are locked before runs, here and everywhere, so that nobody waits in a circle. The runs' rows are locked
# against a claim: whoever claims next sees all that this transaction writes, or this one writes nothing.
_POSTGRESQL = Statements(
    lock=(
        "SELECT id FROM agents_app_session WHERE id IN (SELECT value->>0 FROM json_array_elements(%s::json))"
        " ORDER BY id FOR UPDATE"
    ),
    owned=(
        "SELECT r.id, r.fence FROM json_array_elements(%s::json) AS c JOIN agents_app_run r"
        " ON r.id = (c.value->>0)::uuid AND r.fence = (c.value->>1)::bigint AND r.status = 'running'"
        " ORDER BY r.id FOR NO KEY UPDATE OF r"
    ),
    advance=(
        "UPDATE agents_app_session AS s SET last_seq = s.last_seq + (c.value->>1)::bigint"
        " FROM json_array_elements(%s::json) AS c WHERE s.id = c.value->>0 RETURNING s.id, s.last_seq"
    ),
    insert=(
        f"{_EVENT} SELECT value->>0, (value->>1)::bigint, (value->>2)::bigint, (value->>3)::uuid, value->>4, value->>5,"
        " (value->>6)::timestamptz FROM json_array_elements(%s::json)"
    ),
)


def statements() -> Statements:
    """Those of the database in use."""
    return _SQLITE if connection.vendor == "sqlite" else _POSTGRESQL

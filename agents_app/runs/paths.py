"""The tree of a session's runs. Each run follows another, and the chosen path is the session's history.

A fork continues the numbers of its parent, so a number names one run, wherever in the line of forks it is.
"""

import uuid
from collections.abc import Iterator
from typing import NamedTuple

from django.db import connection

from agents_app.database.prepared import Parameter, Prepared
from agents_app.models import Session

_AT_ONCE = 200

_ENDED = """
SELECT id, number, follows FROM agents_app_run
WHERE session_id = %s AND number <= %s AND status NOT IN ('queued', 'running', 'waiting')
ORDER BY number DESC LIMIT %s
"""
_SESSION = Prepared(lambda: Session.objects.filter(pk=Parameter("pk")).order_by())


class Node(NamedTuple):
    """A run, and its number."""

    pk: uuid.UUID
    number: int


def path(session: Session, end: int) -> Iterator[Node]:
    """Yield the ended runs that lead to the run of number `end`, from there to the first one.

    A run that was deleted counts as one that followed the number before it.
    """
    holder: Session | None = session
    while end > 0 and (holder := _holder(holder, end)) is not None:
        rows = _ended(holder, end)
        if not rows:
            end = holder.parent_count
        for pk, number, follows in rows:
            if number <= end:
                yield Node(uuid.UUID(str(pk)), number)
                end = number - 1 if follows is None else min(follows, number - 1)


def lineage(session: Session) -> Iterator[Session]:
    """Yield the session and those that it was forked from, up to the first."""
    holder: Session | None = session
    while holder is not None:
        yield holder
        holder = _SESSION.first(pk=holder.parent_id) if holder.parent_id else None


def _holder(session: Session | None, number: int) -> Session | None:
    """Return the session that has the run of that number; None if it was deleted."""
    while session is not None and number <= session.parent_count:
        session = _SESSION.first(pk=session.parent_id) if session.parent_id else None
    return session


def _ended(session: Session, end: int) -> list[tuple[str, int, int | None]]:
    with connection.cursor() as cursor:
        cursor.execute(_ENDED, [session.pk, end, _AT_ONCE])
        return cursor.fetchall()

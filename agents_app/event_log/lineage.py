"""The logs of which a fork's log consists: it begins with those of the sessions that it was forked from."""

from typing import NamedTuple

from django.db import connection

from agents_app.models import Session

_LINEAGE = """
WITH RECURSIVE lineage (id, upto) AS (
    SELECT parent_id, parent_seq FROM agents_app_session WHERE id = %s
    UNION ALL
    SELECT session.parent_id, session.parent_seq FROM agents_app_session AS session
        JOIN lineage ON session.id = lineage.id WHERE lineage.upto > %s)
SELECT id, upto FROM lineage WHERE id IS NOT NULL AND upto > %s ORDER BY upto
"""


class Stretch(NamedTuple):
    """The events up to the number `upto`, which are in the log of this session."""

    session_id: str
    upto: int


def inherited(session_id: str, after: int) -> list[Stretch]:
    """Return where the events after `after` are that the session has from others, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_LINEAGE, [session_id, after, after])
        return [Stretch(*row) for row in cursor.fetchall()]


def pruned_seq(session: Session) -> int:
    """Return the number up to which the session's events were pruned, also in the logs that it shares."""
    if session.pruned_seq or not session.parent_seq:
        return session.pruned_seq
    stretches = inherited(session.pk, 0)
    if not stretches:
        return session.parent_seq  # the session that it was forked from is gone
    rows = Session.objects.filter(pk__in=[stretch.session_id for stretch in stretches])
    sessions = {row.pk: row for row in rows.only("pruned_seq", "parent_seq")}
    held = [(sessions[stretch.session_id], stretch.upto) for stretch in stretches if stretch.session_id in sessions]
    if not held:
        return session.parent_seq
    return max([held[0][0].parent_seq, *(min(row.pruned_seq, upto) for row, upto in held)])

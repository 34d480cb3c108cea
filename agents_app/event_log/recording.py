"""Append events in the caller's transaction, outside a worker's run."""

import datetime
import uuid
from collections.abc import Sequence

from django.db import connection, transaction

from agents_app import live
from agents_app.database.prepared import parameter_value
from agents_app.event_log.reading import frame_text
from agents_app.event_log.vocabulary import EventData, encode
from agents_app.live import Frame


def advance(session_id: str, count: int) -> int:
    """Take `count` numbers of the session in the caller's transaction. Return the number before the first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE agents_app_session SET last_seq = last_seq + %s WHERE id = %s RETURNING last_seq",
            [count, session_id],
        )
        return cursor.fetchone()[0] - count


def record(session_id: str, run_id: uuid.UUID | None, events: Sequence[EventData]) -> range:
    """Append events in the caller's transaction, and publish them once it is committed. Return their numbers.

    `run_id`: the run that they are of; None for events of the session.
    """
    at = live.now()
    run = parameter_value(run_id)
    created_at = parameter_value(datetime.datetime.fromtimestamp(at, datetime.UTC))
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        before = advance(session_id, len(events))
        frames = []
        for seq, data in enumerate(events, start=before + 1):
            kind, text = data.event_type, encode(data)
            cursor.execute(
                "INSERT INTO agents_app_event (session_id, seq, first, run_id, type, data, created_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [session_id, seq, seq, run, kind, text, created_at],
            )
            frames.append(Frame(seq, seq, False, frame_text(kind, seq, seq, run_id, at, text)))
        transaction.on_commit(lambda: live.publish_soon([(session_id, frames)]))
    return range(before + 1, before + 1 + len(events))

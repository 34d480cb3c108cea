"""Steer a run: messages that it takes while it works.

Such a message is a queued run from the start, so that nothing is lost if the run ends first: then it is the next one.
"""

import uuid
from typing import Any

from django.db import transaction
from django.db.models import Count, Sum
from django.db.models.functions import Length
from msgspec import UNSET

from agents_app import event_log
from agents_app.database.errors import storage_errors
from agents_app.event_log.vocabulary import Steered, SteerQueued
from agents_app.exceptions import Fenced, SessionBusy
from agents_app.models import Run, Session, SteeredMessage

MOST_MESSAGES = 10  # that one run takes
MOST_CHARACTERS = 200_000  # of them together


def find_target(session: Session, message: str) -> Run | None:
    """Return the run in progress, which takes messages; None if there is none.

    Raises:
        SessionBusy: it takes no more.
    """
    busy = session.runs.filter(status__in=[Run.Status.RUNNING, Run.Status.WAITING], cancel_requested=False)
    run = busy.order_by("number").first()
    if run is not None:
        waiting = session.runs.filter(steers=run.pk, status=Run.Status.QUEUED)
        of_both = [_size(waiting, "prompt"), _size(run.steered.all(), "message")]
        count, characters = (sum(numbers) for numbers in zip(*of_both, strict=True))
        if count >= MOST_MESSAGES or characters + len(message) > MOST_CHARACTERS:
            text = (
                f"A run takes at most {MOST_MESSAGES} messages of {MOST_CHARACTERS:,} characters while it works: "
                "send this one to be answered after it."
            )
            raise SessionBusy(text)
    return run


def _size(rows: Any, column: str) -> tuple[int, int]:
    sums = rows.aggregate(count=Count("pk"), characters=Sum(Length(column)))
    return sums["count"], sums["characters"] or 0


def offer(message: Run, run: Run) -> None:
    """Let `run` take the message that this queued run is, in the caller's transaction."""
    Run.objects.filter(pk=run.pk).update(is_steered=True)
    assert message.message_id is not None
    data = SteerQueued(message_id=message.message_id, message=message.prompt, parts=message.parts or UNSET)
    event_log.record(run.session_id, run.pk, [data])


def make_message_id() -> str:
    """Return the id of a message whose sender gave it none."""
    return f"steer-{uuid.uuid4().hex}"


def same(session: Session, message_id: str) -> Run | None:
    """Return the run that took the message of that id."""
    taken = SteeredMessage.objects.select_related("run").filter(session=session, message_id=message_id).first()
    return taken.run if taken else None


def steered_run(message: Run) -> Run:
    """Return the run that a message is for; the message's own if that one has ended, or is no more."""
    if message.steers is None or message.status != Run.Status.QUEUED:
        return message
    return Run.objects.unfinished().filter(pk=message.steers).first() or message


def take(run: Run, iteration: int) -> list[SteeredMessage]:
    """Take the messages that wait for the claimed run, before its model turn `iteration`.

    Raises:
        Fenced: another worker has the run.
        StorageUnavailable: the database refused; they still wait.
    """
    with storage_errors(), transaction.atomic():
        session = Session.objects.select_for_update().get(pk=run.session_id)  # sessions before runs: see event_log.sql
        ours = Run.objects.filter(pk=run.pk, fence=run.fence, status=Run.Status.RUNNING)
        if not ours.select_for_update(of=("self",), no_key=True).exists():
            raise Fenced("Another worker has this run now.")
        messages = list(session.runs.filter(steers=run.pk, status=Run.Status.QUEUED).order_by("number"))
        rows = [_steered(run, message, iteration) for message in messages]
        SteeredMessage.objects.bulk_create(rows)
        for message in messages:
            _forget(session, message)
        ours.update(is_steered=False)
        if rows:
            events = [Steered(message_id=row.message_id, iteration=iteration) for row in rows]
            event_log.record(session.pk, run.pk, events)
    return rows


def _steered(run: Run, message: Run, iteration: int) -> SteeredMessage:
    assert message.message_id is not None
    return SteeredMessage(
        session_id=run.session_id,
        run=run,
        iteration=iteration,
        message_id=message.message_id,
        message=message.prompt,
        parts=message.parts,
        created_at=message.created_at,
    )


def _forget(session: Session, message: Run) -> None:
    """Delete the run that the message was, and let the path end before it if it ended with it."""
    if session.head == message.number and message.follows is not None:
        session.chosen = message.follows
        Session.objects.filter(pk=session.pk).update(chosen=session.chosen)
    message.delete()

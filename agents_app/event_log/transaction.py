"""One transaction of the writer: fence, numbers, events, steps and runs. Called on the writer's thread."""

import contextlib
import datetime
import uuid
from typing import Any

from django.db import connection
from django.db.transaction import atomic

from agents_app import live
from agents_app.event_log import charges, sql
from agents_app.event_log.batch import Attempt, Entry, Head, Plan, Segment, Write, Written
from agents_app.event_log.reading import frame_text
from agents_app.event_log.vocabulary import EventType
from agents_app.live import Frame
from agents_app.models import Run, Step, TokenUse

STEP_FIELDS = [
    "iteration", "kind", "status", "content", "tool_call_id", "tool_name", "arguments",
    "is_error", "attachments", "provider_data", "usage", "started_at", "finished_at",
]  # fmt: skip


_CREATED_AT = {"sqlite": "%Y-%m-%d %H:%M:%S.%f", "postgresql": "%Y-%m-%d %H:%M:%S.%f+00"}


class _AlreadyWritten(Exception):
    """The transaction before this one was committed after all: undo this one."""


def write(writes: list[Write], last: Attempt | None = None) -> list[Written]:
    """Write the batch in one transaction. Leave out the runs that are no longer this worker's.

    `last`: the same object for each attempt at one batch.

    Raises:
        DatabaseError: nothing was written, or that is unknown: try again with `last`.
    """
    attempt = last or Attempt()
    with contextlib.suppress(_AlreadyWritten):
        _write(writes, attempt)
    for head, segments, end in attempt.new_heads:  # true only now
        head.segments, head.last_seq = segments, end
    return attempt.written


def _write(writes: list[Write], attempt: Attempt) -> None:
    at = live.now()
    created_at = datetime.datetime.fromtimestamp(at, datetime.UTC).strftime(_CREATED_AT[connection.vendor])
    plan = Plan(at, created_at)
    needed = [(write, write.needed()) for write in writes]
    written: list[Written] = []
    new_heads: list[tuple[Head, list[Segment], int]] = []
    with atomic():
        before = _take_numbers([(write.head, len(entries)) for write, entries in needed])
        if attempt.was_committed():
            raise _AlreadyWritten
        for write, entries in needed:
            head = write.head
            if (start := before.get(head)) is None:
                continue
            frames, segments = _lay_out(plan, head, entries, start)
            end = start + len(entries)
            new_heads.append((head, segments, end))
            written.append(Written(head, frames))
            plan.steps += write.steps
            plan.charges += write.charges
            if write.changes:
                _change_run(plan, head, write.changes, end)
            for callback in write.callbacks:
                callback()
        _execute(plan)
        attempt.plan, attempt.written, attempt.new_heads = plan, written, new_heads


def _take_numbers(counts: list[tuple[Head, int]]) -> dict[Head, int]:
    """Advance the sessions of the runs that are still ours. Return the number before each run's first event."""
    by_run = {(head.run_id, head.fence): (head, count) for head, count in counts}
    claimed = [[head.run_id.hex, head.fence, head.session_id, count] for head, count in counts]
    before = {}
    for run, fence, last, is_steered in sql.take(claimed):
        head, count = by_run[uuid.UUID(str(run)), fence]
        before[head] = last - count
        head.is_steered = is_steered
    return before


def _lay_out(plan: Plan, head: Head, entries: list[Entry], before: int) -> tuple[list[Frame], list[Segment]]:
    """Number the entries; what a finished step replaces is deleted and covered by the step's range."""
    segments = list(head.segments) if before == head.last_seq else []
    replaced = {step for entry in entries for step in entry.replaces}
    frames: list[Frame] = []
    for seq, entry in enumerate(entries, start=before + 1):
        first = seq
        if entry.delta is not None:
            step = entry.delta.step
            if segments and segments[-1].step == step:
                segments[-1] = segments[-1]._replace(last=seq)
            else:
                segments.append(Segment(step, seq, seq))
        else:
            while entry.replaces and segments and segments[-1].step in replaced:
                first = segments.pop().first
            if first < seq:
                plan.replaced.append((head.session_id, first, seq))
            segments = []
        data = entry.as_json()
        text = frame_text(entry.type, seq, first, head.run_id, plan.at, data)
        frames.append(Frame(first, seq, entry.delta is not None, text))
        plan.events.append([head.session_id, seq, first, head.run_id.hex, entry.type, data, plan.created_at])
    return frames, segments


def _change_run(plan: Plan, head: Head, changes: dict[str, Any], end: int) -> None:
    if changes.get("finished_at"):
        changes = changes | {"last_seq": end}
        plan.ended.append(head.run_id)
    Run.objects.filter(pk=head.run_id).update(**changes)


def _execute(plan: Plan) -> None:
    with connection.cursor() as cursor:
        for session_id, first, before in plan.replaced:
            cursor.execute(
                "DELETE FROM agents_app_event WHERE session_id = %s AND seq >= %s AND seq < %s AND type = %s",
                [session_id, first, before, EventType.REASONING_DELTA],
            )
        if plan.events:
            sql.insert(plan.events)
    if plan.steps:
        latest = {(step.run_id, step.index): step for step in plan.steps}
        Step.objects.bulk_create(
            latest.values(), update_conflicts=True, unique_fields=["run", "index"], update_fields=STEP_FIELDS
        )
    TokenUse.objects.add(plan.ended)
    if plan.charges:
        charges.apply(plan.charges)

"""One transaction of the writer: fence, numbers, events, steps and runs. Called on the writer's thread."""

import asyncio
import contextlib
import datetime
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from django.db import connection

from agents_app import live
from agents_app.database.threads import write_transaction
from agents_app.engine.events import Delta
from agents_app.event_log import sql
from agents_app.event_log.reading import DELTA, frame_text
from agents_app.live import Frame
from agents_app.models import Event, Run, Step, TokenUse

if TYPE_CHECKING:
    from agents_app.event_log.writer import RunLog

STEP_FIELDS = [
    "iteration", "kind", "status", "content", "tool_call_id", "tool_name", "arguments",
    "is_error", "attachments", "provider_data", "usage", "started_at", "finished_at",
]  # fmt: skip


_CREATED_AT = {"sqlite": "%Y-%m-%d %H:%M:%S.%f", "postgresql": "%Y-%m-%d %H:%M:%S.%f+00"}


class Segment(NamedTuple):
    """Rows `first`..`last` of the log that hold deltas of one step."""

    step: int
    first: int
    last: int


@dataclass(slots=True)
class Entry:
    """An event that waits: a delta in pieces, or a whole one with its JSON."""

    type: str
    data: str = ""
    delta: Delta | None = None
    pieces: list[str] = field(default_factory=list)
    replaces: tuple[int, ...] = ()

    def as_json(self) -> str:
        if self.delta is None:
            return self.data
        delta = self.delta
        return orjson.dumps(
            {
                "step": delta.step,
                "type": delta.type,
                "iteration": delta.iteration,
                "offset": delta.offset,
                "content": "".join(self.pieces),
            }
        ).decode()


@dataclass(slots=True)
class Write:
    """What one run wants written."""

    log: "RunLog"
    entries: list[Entry]
    steps: list[Step]
    changes: dict[str, Any]
    then: list[Callable[[], None]]
    waiters: list["asyncio.Future[None]"]

    def needed(self) -> list[Entry]:
        """The entries without the deltas that a later entry of this very write replaces."""
        if not any(entry.replaces for entry in self.entries):
            return self.entries
        needed: list[Entry] = []
        replaced: set[int] = set()
        for entry in reversed(self.entries):
            replaced.update(entry.replaces)
            if entry.delta is None or entry.delta.step not in replaced:
                needed.append(entry)
        return needed[::-1]


class Written(NamedTuple):
    """What became of a run's write: the frames to publish."""

    log: "RunLog"
    session_id: str
    frames: list[Frame]


@dataclass(slots=True)
class _Plan:
    """Rows of one transaction, gathered over all runs."""

    at: float
    created_at: str
    events: list[list[Any]] = field(default_factory=list)
    replaced: list[tuple[str, int, int]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    ended: list[uuid.UUID] = field(default_factory=list)


@dataclass(slots=True)
class Attempt:
    """What a batch's last transaction has made true, if it was committed.

    A connection that ends during a COMMIT does not tell: whoever then just tried again would say everything twice.
    """

    plan: _Plan | None = None
    written: list[Written] = field(default_factory=list)
    tails: list[tuple["RunLog", list[Segment], int]] = field(default_factory=list)

    def was_committed(self) -> bool:
        """Ask with the sessions locked, so that no transaction is on its way any more."""
        if self.plan is None or not self.plan.events:
            return False  # saying it twice changes nothing
        session_id, seq, _, run_id, kind, data, created_at = self.plan.events[0]
        said = Event.objects.filter(session_id=session_id, seq=seq, run_id=run_id, type=kind, data=data)
        return said.filter(created_at=f"{created_at[:26]}+00:00").exists()


class _AlreadyWritten(Exception):
    """The transaction before this one was committed after all: undo this one."""


def write(batch: list[Write], now: datetime.datetime, last: Attempt | None = None) -> list[Written]:
    """Write the batch in one transaction; runs that are not this worker's any more are left out of it.

    `last`: the same object for each attempt at one batch.

    Raises:
        DatabaseError: nothing was written, or nobody knows: ask again with `last`.
    """
    attempt = last or Attempt()
    with contextlib.suppress(_AlreadyWritten):
        _write(batch, attempt)
    for log, segments, end in attempt.tails:  # only now is it true
        log.segments, log.last_seq = segments, end
    return attempt.written


def _write(batch: list[Write], attempt: Attempt) -> None:
    at = live.now()
    created_at = datetime.datetime.fromtimestamp(at, datetime.UTC).strftime(_CREATED_AT[connection.vendor])
    plan = _Plan(at, created_at)
    wanted = [(w, w.needed()) for w in batch]
    written: list[Written] = []
    tails: list[tuple[RunLog, list[Segment], int]] = []
    with write_transaction():
        before = _take_numbers([(w.log, len(entries)) for w, entries in wanted])
        if attempt.was_committed():
            raise _AlreadyWritten
        for w, entries in wanted:
            if (start := before.get(w.log)) is None:
                continue
            frames, segments = _lay_out(plan, w.log, entries, start)
            end = start + len(entries)
            tails.append((w.log, segments, end))
            written.append(Written(w.log, w.log.session_id, frames))
            plan.steps += w.steps
            if w.changes:
                _change_run(plan, w.log, w.changes, end)
            for then in w.then:
                then()
        _execute(plan)
        attempt.plan, attempt.written, attempt.tails = plan, written, tails


def _take_numbers(wanted: list[tuple["RunLog", int]]) -> dict["RunLog", int]:
    """Advance the sessions of the runs that are still ours; the number before each run's first event."""
    counts = {(log.run_id, log.fence): (log, count) for log, count in wanted}
    claimed = [[log.run_id.hex, log.fence, log.session_id, count] for log, count in wanted]
    before = {}
    for run, fence, last in sql.take(claimed):
        log, count = counts[uuid.UUID(str(run)), fence]
        before[log] = last - count
    return before


def _lay_out(plan: _Plan, log: "RunLog", entries: list[Entry], before: int) -> tuple[list[Frame], list[Segment]]:
    """Number the entries; what a finished step replaces is deleted and covered by the step's range."""
    segments = list(log.segments) if before == log.last_seq else []
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
                plan.replaced.append((log.session_id, first, seq))
            segments = []
        data = entry.as_json()
        text = frame_text(entry.type, seq, first, log.run_id, plan.at, data)
        frames.append(Frame(first, seq, entry.delta is not None, text))
        plan.events.append([log.session_id, seq, first, log.run_id.hex, entry.type, data, plan.created_at])
    return frames, segments


def _change_run(plan: _Plan, log: "RunLog", changes: dict[str, Any], end: int) -> None:
    if changes.get("finished_at"):
        changes = changes | {"last_seq": end}
        plan.ended.append(log.run_id)
    Run.objects.filter(pk=log.run_id).update(**changes)


def _execute(plan: _Plan) -> None:
    with connection.cursor() as cursor:
        for session_id, first, before in plan.replaced:
            cursor.execute(
                "DELETE FROM agents_app_event WHERE session_id = %s AND seq >= %s AND seq < %s AND type = %s",
                [session_id, first, before, DELTA],
            )
        if plan.events:
            sql.insert(plan.events)
    if plan.steps:
        latest = {(step.run_id, step.index): step for step in plan.steps}
        Step.objects.bulk_create(
            latest.values(), update_conflicts=True, unique_fields=["run", "index"], update_fields=STEP_FIELDS
        )
    TokenUse.objects.add(plan.ended)

"""What the runs of a worker hand to the writer, and what one transaction makes of it."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents_app.engine.events import Delta
from agents_app.event_log.charges import Charge
from agents_app.event_log.vocabulary import EventType, ReasoningDelta, encode
from agents_app.live import Frame
from agents_app.models import Event, Step

InTransaction = Callable[[], None]  # called on the writer's thread, inside the transaction


class Segment(NamedTuple):
    """Rows `first`..`last` of the log that hold deltas of one step."""

    step: int
    first: int
    last: int


@dataclass(slots=True, eq=False)
class Head:
    """The end of the log of one claimed run.

    Owned by the writer's thread. `segments`: the delta rows at the end of the session's log that a step may replace.
    `is_steered`: whether messages waited for the run at the last write, which so hears of them without a question.
    """

    run_id: uuid.UUID
    session_id: str
    fence: int
    segments: list[Segment] = field(default_factory=list)
    last_seq: int = 0
    is_steered: bool = False


@dataclass(slots=True)
class Entry:
    """An event that waits: a delta in pieces, or a whole event with its JSON."""

    type: EventType
    data: str = ""
    delta: Delta | None = None
    pieces: list[str] = field(default_factory=list)
    replaces: tuple[int, ...] = ()

    def as_json(self) -> str:
        if self.delta is None:
            return self.data
        delta = self.delta
        return encode(ReasoningDelta(delta.step, delta.type, delta.iteration, delta.offset, "".join(self.pieces)))


@dataclass(slots=True)
class Write:
    """All that one run has to write."""

    head: Head
    entries: list[Entry]
    steps: list[Step]
    changes: dict[str, Any]
    callbacks: list[InTransaction]
    charges: list[Charge]

    def needed(self) -> list[Entry]:
        """Return the entries without the deltas that a later entry of this very write replaces."""
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
    """The result of a run's write: the frames to publish."""

    head: Head
    frames: list[Frame]


@dataclass(slots=True)
class Plan:
    """The rows of one transaction, gathered over all runs."""

    at: float
    created_at: str
    events: list[list[Any]] = field(default_factory=list)
    replaced: list[tuple[str, int, int]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    ended: list[uuid.UUID] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)


@dataclass(slots=True)
class Attempt:
    """What the last transaction of a batch has made true if it was committed.

    A connection that ends during a COMMIT does not tell: a second try alone would write everything twice.
    """

    plan: Plan | None = None
    written: list[Written] = field(default_factory=list)
    new_heads: list[tuple[Head, list[Segment], int]] = field(default_factory=list)

    def was_committed(self) -> bool:
        """Look for the first event. Call it with the sessions locked, so that no transaction is on its way."""
        if self.plan is None or not self.plan.events:
            return False  # writing it twice changes nothing
        session_id, seq, _, run_id, kind, data, created_at = self.plan.events[0]
        same = Event.objects.filter(session_id=session_id, seq=seq, run_id=run_id, type=kind, data=data)
        return same.filter(created_at=f"{created_at[:26]}+00:00").exists()

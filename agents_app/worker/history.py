"""The session's earlier runs, as messages. A run that has ended never changes, so its messages are kept in memory."""

import functools
import itertools
import operator
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from agents_app.database.prepared import Parameter, Prepared
from agents_app.engine.context_window import file_characters
from agents_app.engine.spec import Conversation, FilePart, Message, replay_answer
from agents_app.files.parts import to_engine
from agents_app.models import Run, SteeredMessage, Step
from agents_app.runs import paths
from agents_app.worker.replay import earlier_messages, replay

_MOST_RUNS = 200
_MOST_KEPT = 8 * 2**20  # characters, in all runs: twice that in bytes, with what providers encode of them
_CHARACTERS_PER_MESSAGE = 500  # what a message costs beside its text
_MOST_OF_ONE = _MOST_KEPT // 16
_AT_ONCE = 16  # rows read by one statement at most: as many as were read before, because few may fill the window


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """What a later run needs of one that has ended. `size`: its characters, as far as they count for the window."""

    size: int
    messages: tuple[Message, ...]


class _Kept:
    """The runs that were used last, up to a number of characters."""

    def __init__(self) -> None:
        self._runs: OrderedDict[uuid.UUID, EarlierRun] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, pk: uuid.UUID) -> EarlierRun | None:
        with self._lock:
            run = self._runs.get(pk)
            if run is not None:
                self._runs.move_to_end(pk)
            return run

    def add(self, pk: uuid.UUID, run: EarlierRun) -> None:
        with self._lock:
            weight = _weight(run)
            if pk in self._runs or weight > _MOST_OF_ONE:
                return
            self._runs[pk] = run
            self._size += weight
            while self._size > _MOST_KEPT:
                _, oldest = self._runs.popitem(last=False)
                self._size -= _weight(oldest)


def _weight(run: EarlierRun) -> int:
    return sum(
        len(m.content) + _CHARACTERS_PER_MESSAGE + sum(_CHARACTERS_PER_MESSAGE + _length(part) for part in m.parts)
        for m in run.messages
    )


def _length(part: str | FilePart) -> int:
    return len(part) if isinstance(part, str) else 0


_kept = _Kept()

_PLACES = [f"run{i}" for i in range(_AT_ONCE)]


def _among(field: str) -> Q:
    return functools.reduce(operator.or_, (Q((field, Parameter(place))) for place in _PLACES))


def _tool_rounds() -> QuerySet[Step]:
    rounds_or_own = Q(kind__in=[Step.Kind.TOOL_USE, Step.Kind.TOOL_RESULT]) | Q(provider_data__has_key="origin")
    return Step.objects.filter(_among("run"), rounds_or_own).order_by("run", "index")


_RUNS = Prepared(lambda: Run.objects.filter(_among("pk")))
_TOOL_ROUNDS = Prepared(_tool_rounds)
_STEERED = Prepared(lambda: SteeredMessage.objects.filter(_among("run")).order_by("run", "pk"))


def history(run: Run, *, room: int) -> list[Message]:
    """Return the earlier runs that this one continues as messages, oldest first, as many as fit into `room` characters.

    Tool rounds are those of completed runs.
    """
    recent: list[EarlierRun] = []
    for earlier in _newest_first(run):
        recent.append(earlier)
        room -= earlier.size
        if room < 0:
            break
    return [message for earlier in reversed(recent) for message in earlier.messages]


def _newest_first(run: Run) -> Iterator[EarlierRun]:
    ids = [node.pk for node in itertools.islice(paths.path(run.session, run.followed), _MOST_RUNS)]
    earlier = {pk: kept for pk in ids if (kept := _kept.get(pk))}
    missing = [pk for pk in ids if pk not in earlier]
    count = 1
    for pk in ids:
        if missing and pk == missing[0]:
            earlier |= _read(missing[:count])
            missing = missing[count:]
            count = min(2 * count, _AT_ONCE)
        if pk in earlier:  # it may have been deleted a moment ago
            yield earlier.pop(pk)


def _read(ids: list[uuid.UUID]) -> dict[uuid.UUID, EarlierRun]:
    places = dict(zip(_PLACES, ids + ids[:1] * (_AT_ONCE - len(ids)), strict=True))
    runs = _RUNS.all(**places)
    rounds: dict[uuid.UUID, list[Step]] = {}
    for step in _TOOL_ROUNDS.all(**places):
        rounds.setdefault(step.run_id, []).append(step)
    steered: dict[uuid.UUID, list[SteeredMessage]] = {}
    for row in _STEERED.all(**places):
        steered.setdefault(row.run_id, []).append(row)
    result = {}
    for run in runs:
        completed = run.status == Run.Status.COMPLETED
        result[run.pk] = _earlier_run(run, rounds.get(run.pk, []) if completed else [], steered.get(run.pk, []))
        _kept.add(run.pk, result[run.pk])
    return result


def _earlier_run(run: Run, rounds: Sequence[Step], steered: Sequence[SteeredMessage]) -> EarlierRun:
    prompt = [Message("user", run.prompt, parts=to_engine(run.parts))] if run.has_prompt else []
    replayed = Conversation(history=[], prompt="", turns=prompt)
    replay(replayed, rounds, steered=steered)
    before = earlier_messages(run)
    with_files = [message for message in (*before, *replayed.turns) if message.parts]
    return EarlierRun(
        size=len(run.prompt)
        + sum(len(row.message) for row in steered)
        + len(run.result)
        + sum(len(message.content) for message in before)
        + sum(file_characters(message.parts) for message in with_files),
        messages=(*before, *replayed.turns, _answer(run, rounds)),
    )


def _answer(run: Run, steps: Sequence[Step]) -> Message:
    """Return the answer of a run, which is never empty: servers reject that."""
    if not run.result.strip():
        return Message("assistant", f"[No answer: {run.status}.]")
    own = next((step for step in reversed(steps) if step.kind == Step.Kind.FINAL_ANSWER), None)
    return replay_answer(run.result, own.provider_data if own else {})

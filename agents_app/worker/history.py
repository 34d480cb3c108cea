"""The session's earlier runs, as messages. A run that has ended never changes, so its messages are kept in memory."""

import functools
import itertools
import operator
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.db.models import Q, QuerySet

from agents_app.database.prepared import Parameter, Prepared
from agents_app.engine import compaction
from agents_app.engine.context_window import file_characters
from agents_app.engine.spec import Compaction, Conversation, FilePart, Mark, Message, Position, replay_answer
from agents_app.files.parts import to_engine
from agents_app.models import Run, SteeredMessage, Step
from agents_app.runs import paths
from agents_app.worker import compactions
from agents_app.worker.replay import earlier_messages, replay

_MOST_RUNS = 200
_MOST_KEPT = 8 * 2**20  # characters, in all runs: twice that in bytes, with what providers encode of them
_CHARACTERS_PER_MESSAGE = 500  # what a message costs beside its text
_MOST_OF_ONE = _MOST_KEPT // 16
_AT_ONCE = 16  # rows read by one statement at most: as many as were read before, because few may fill the window


@dataclass(frozen=True)
class EarlierRun:
    """What a later run needs of one that has ended. `size`: its characters, as far as they count for the window.

    `messages`: first the `before` that its caller sent, then the prompt, with which there are `opening`, the turns and
    the answer. `replaced`: the same with a line in the place of each long result. `seq`: its end in the log.
    """

    pk: str
    follows: int
    size: int
    seq: int
    before: int
    opening: int
    messages: tuple[Message, ...]
    compactions: tuple[Compaction, ...] = ()

    @functools.cached_property
    def replaced(self) -> tuple[Message, ...]:
        return tuple(compaction.replaced(self.messages))

    def newest(self, kind: str) -> Position | None:
        return next((each.upto for each in reversed(self.compactions) if each.kind == kind), None)

    @property
    def summary(self) -> Compaction | None:
        return next((each for each in reversed(self.compactions) if each.kind == compaction.SUMMARY), None)


@dataclass(slots=True)
class History:
    """The earlier runs as messages. `marks`: the places between them. `has_more`: there are older ones than these."""

    messages: list[Message] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    has_more: bool = False


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
    rounds = [Step.Kind.TOOL_USE, Step.Kind.TOOL_RESULT, Step.Kind.COMPACTION]
    rounds_or_own = Q(kind__in=rounds) | Q(provider_data__has_key="origin")
    return Step.objects.filter(_among("run"), rounds_or_own).order_by("run", "index")


_RUNS = Prepared(lambda: Run.objects.filter(_among("pk")))
_TOOL_ROUNDS = Prepared(_tool_rounds)
_STEERED = Prepared(lambda: SteeredMessage.objects.filter(_among("run")).order_by("run", "pk"))


def history(run: Run, *, room: int) -> History:
    """Return the earlier runs that this one continues, oldest first, as many as fit into `room` characters.

    A summary stands for all that came before it. Tool rounds are those of completed runs.
    """
    recent: list[EarlierRun] = []
    summary: Compaction | None = None
    has_more = False
    for earlier in _newest_first(run):
        if summary is not None and summary.upto.run == earlier.pk and _is_end(summary.upto):
            break
        recent.append(earlier)
        summary = summary or earlier.summary
        if summary is not None and summary.upto.run == earlier.pk:
            break
        room -= earlier.size
        if room < 0 or len(recent) == _MOST_RUNS:
            has_more = earlier.follows > 0
            break
    return _assembled(recent[::-1], summary, has_more=has_more)


def _is_end(position: Position) -> bool:
    """Whether it is the end of a run."""
    return position.messages is None and position.step is None


def _assembled(runs: list[EarlierRun], summary: Compaction | None, *, has_more: bool) -> History:
    """Join the runs. Long results are replaced up to where the newest run with such a compaction has it."""
    result = History(has_more=has_more)
    if summary is not None:
        result.messages += compaction.summary_messages(summary.text)
    replaced_to = next(filter(None, (each.newest(compaction.TOOL_RESULTS) for each in reversed(runs))), None)
    is_replaced = replaced_to is not None and any(each.pk == replaced_to.run for each in runs)
    for each in runs:
        messages = each.replaced if is_replaced else each.messages
        if is_replaced and replaced_to and replaced_to.run == each.pk:
            is_replaced = False
            messages = _replaced_until(each, replaced_to)
        if summary is not None and summary.upto.run == each.pk:
            messages = _after(each, messages, summary.upto)
        result.messages += messages
        result.marks.append(Mark(len(result.messages), Position(each.pk), each.seq))
    return result


def _replaced_until(run: EarlierRun, position: Position) -> tuple[Message, ...]:
    if _is_end(position):
        return run.replaced
    until = position.messages or _turns_until(run, position)
    return (*run.replaced[:until], *run.messages[until:])


def _turns_until(run: EarlierRun, position: Position) -> int:
    return 0 if position.step is None else compaction.turns_until(run.messages, position.step)


def _after(run: EarlierRun, messages: tuple[Message, ...], position: Position) -> tuple[Message, ...]:
    """Return what follows a position inside the run; its prompt stays."""
    if position.messages is not None:
        return messages[position.messages :]
    until = max(_turns_until(run, position), run.opening)
    return (*messages[run.before : run.opening], *messages[until:])


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
        result[run.pk] = _earlier_run(run, rounds.get(run.pk, []), steered.get(run.pk, []))
        _kept.add(run.pk, result[run.pk])
    return result


def _earlier_run(run: Run, steps: Sequence[Step], steered: Sequence[SteeredMessage]) -> EarlierRun:
    rounds = steps if run.status == Run.Status.COMPLETED else ()
    prompt = [Message("user", run.prompt, parts=to_engine(run.parts))] if run.has_prompt else []
    replayed = Conversation(history=[], prompt="", turns=prompt)
    replay(replayed, rounds, steered=steered)
    before = earlier_messages(run)
    with_files = [message for message in (*before, *replayed.turns) if message.parts]
    return EarlierRun(
        pk=str(run.pk),
        follows=run.followed,
        size=len(run.prompt)
        + sum(len(row.message) for row in steered)
        + len(run.result)
        + sum(len(message.content) for message in before)
        + sum(file_characters(message.parts) for message in with_files),
        seq=run.last_seq or 0,
        before=len(before),
        opening=len(before) + len(prompt),
        messages=(*before, *replayed.turns, _answer(run, rounds)),
        compactions=tuple(compactions.of_steps(steps)),
    )


def _answer(run: Run, steps: Sequence[Step]) -> Message:
    """Return the answer of a run, which is never empty: servers reject that."""
    if not run.result.strip():
        return Message("assistant", f"[No answer: {run.status}.]")
    own = next((step for step in reversed(steps) if step.kind == Step.Kind.FINAL_ANSWER), None)
    return replay_answer(run.result, own.provider_data if own else {})

"""Lines of JSON → sessions, each checked as a whole before anybody sees it."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import orjson
from django.core.exceptions import ValidationError

from agents_app.maintenance.transfer.columns import FORMAT, KINDS, VERSION, row
from agents_app.models import Approval, Artifact, Event, Run, Session, Step


class Broken(Exception):
    """The file cannot be imported. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(f"line {line}: {message}")


@dataclass(slots=True)
class Portable:
    """One session of a file, as unsaved rows. `line` is where it begins."""

    line: int
    session: Session
    owner: str | None
    agent: str | None
    runs: dict[uuid.UUID, Run] = field(default_factory=dict)
    parents: dict[uuid.UUID, uuid.UUID] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def sessions(file: IO[bytes]) -> Iterator[Portable]:
    """The sessions of the file, one after the other.

    Raises:
        Broken: the file is none of ours, or a line of it is wrong, or its end is missing.
    """
    count = number = 0
    present: Portable | None = None
    for number, said in _lines(file):
        if number == 1:
            _check_format(said)
            continue
        kind, body = _kind(number, said)
        if kind in ("session", "end") and present is not None:
            _check_whole(number, present)
            yield present
            present, count = None, count + 1
        if kind == "end":
            if body != {"sessions": count, "lines": number - 1}:
                raise Broken(number, f"The file should have {body}, and has {count} sessions in {number - 1} lines.")
            if next(_lines(file), None) is not None:
                raise Broken(number + 1, "Something follows the end.")
            return
        try:
            if kind == "session":
                present = _begin(number, body)
            elif present is None:
                raise ValidationError(f"A {kind} without a session.")
            else:
                _ADD[kind](present, body)
        except ValidationError as error:
            raise Broken(number, " ".join(error.messages)) from None
    raise Broken(number + 1, "The file ends here, and has no end line: it was cut off.")


def _lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, 1):
        try:
            yield number, orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Broken(number, f"This is not JSON: {error}.") from None


def _check_format(said: Any) -> None:
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise Broken(1, "This is no file of `manage.py export`.")
    if said.get("version") != VERSION:
        raise Broken(1, f"It is of version {said.get('version')!r}, and this product knows {VERSION}.")


def _kind(number: int, said: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(said, dict) and len(said) == 1:
        kind, body = next(iter(said.items()))
        if kind in (*KINDS, "end") and isinstance(body, dict):
            return kind, body
    raise Broken(number, f"A line is an object with one of these in it: {', '.join(KINDS)}.")


def _begin(number: int, body: dict[str, Any]) -> Portable:
    owner, agent = body.pop("owner", None), body.pop("agent", None)
    if not all(name is None or isinstance(name, str) for name in (owner, agent)):
        raise ValidationError("'owner' and 'agent' are names.")
    return Portable(number, row("session", body), owner, agent)


def _add_run(to: Portable, body: dict[str, Any]) -> None:
    parent = body.pop("parent", None)
    run = row("run", body, session_id=to.session.pk, settled=True)
    if not run.is_finished:
        raise ValidationError(f"The run is {run.status}: only those that have ended can be imported.")
    if run.pk in to.runs or run.number in {other.number for other in to.runs.values()}:
        raise ValidationError("The session has had a run of this id or number already.")
    to.runs[run.pk] = run
    if parent is not None:
        to.parents[run.pk] = _run_id(parent)


def _run_id(text: Any) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except (TypeError, ValueError, AttributeError):
        raise ValidationError(f"{str(text)[:60]!r} is no id of a run.") from None


def _part(kind: str, rows: Callable[[Portable], list[Any]]) -> Callable[[Portable, dict[str, Any]], None]:
    """How to add what belongs to a run."""

    def add(to: Portable, body: dict[str, Any]) -> None:
        run = _run_id(body.pop("run", None))
        if run not in to.runs:
            raise ValidationError(f"Run {run} is not in this session, or comes later.")
        rows(to).append(row(kind, body, run_id=run))

    return add


def _add_event(to: Portable, body: dict[str, Any]) -> None:
    data = body.pop("data", None)
    if not isinstance(data, dict):
        raise ValidationError("'data' must be an object.")
    event = row("event", body, session_id=to.session.pk, data=orjson.dumps(data).decode())
    before = to.events[-1].seq if to.events else to.session.pruned_seq
    # As for everybody who reads a log: see docs/protocol.md.
    if not event.first <= before + 1 <= event.seq or event.first > event.seq:
        raise ValidationError(f"Event {event.first}..{event.seq} does not follow {before}.")
    to.events.append(event)


_ADD: dict[str, Callable[[Portable, dict[str, Any]], None]] = {
    "run": _add_run,
    "step": _part("step", lambda to: to.steps),
    "approval": _part("approval", lambda to: to.approvals),
    "artifact": _part("artifact", lambda to: to.artifacts),
    "event": _add_event,
}


def _check_whole(number: int, done: Portable) -> None:
    """What can only be said of the session as a whole; `number` is the line after it."""
    session = done.session
    last = done.events[-1].seq if done.events else session.pruned_seq
    if last != session.last_seq:
        raise Broken(number, f"Session {session.pk!r} should end with event {session.last_seq}, and ends with {last}.")
    if any(run.number > session.run_count for run in done.runs.values()):
        raise Broken(done.line, f"Session {session.pk!r} says that it has {session.run_count} runs, and has more.")
    for what, keys in (
        ("steps", [(step.run_id, step.index) for step in done.steps]),
        ("approvals", [(approval.run_id, approval.step) for approval in done.approvals]),
        ("artifacts", [artifact.pk for artifact in done.artifacts]),
        ("messages", [run.message_id for run in done.runs.values() if run.message_id is not None]),
    ):
        if len(keys) != len(set(keys)):
            raise Broken(done.line, f"Session {session.pk!r} has {what} twice.")

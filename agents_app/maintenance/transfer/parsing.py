"""Parse lines of JSON into sessions. Each session is checked as a whole before it is returned."""

import base64
import binascii
import json
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import ValidationError

from agents_app import exact_json
from agents_app.files.media_types import HEAD, clean_name, media_type
from agents_app.files.storage import CHUNK
from agents_app.maintenance.transfer.columns import FORMAT, KINDS, VERSION, from_dict
from agents_app.models import Approval, Event, File, Run, Session, SteeredMessage, Step

_ARTIFACT = "artifact"  # what a file of a run was in older exports


class InvalidFile(Exception):
    """The file cannot be imported. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(f"line {line}: {message}")


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file of a session, as an unsaved row. Its bytes begin at `offset` of the session's `contents`."""

    row: File
    contents: IO[bytes]
    offset: int

    def pieces(self) -> Iterator[bytes]:
        self.contents.seek(self.offset)
        for start in range(0, self.row.size, CHUNK):
            yield self.contents.read(min(CHUNK, self.row.size - start))


@dataclass(slots=True)
class ParsedSession:
    """One session of a file, as unsaved rows. It begins at `line`."""

    line: int
    session: Session
    owner: str | None
    agent: str | None
    parent: str | None
    contents: IO[bytes]  # of its files, one after the other
    runs: dict[uuid.UUID, Run] = field(default_factory=dict)
    numbers: set[int] = field(default_factory=set)  # of the runs
    parents: dict[uuid.UUID, uuid.UUID] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)
    steered: list[SteeredMessage] = field(default_factory=list)
    files: list[ParsedFile] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    file_owner: Any = None  # the user who gets the files, also of what nobody sees but through a fork

    @property
    def label(self) -> str:
        """The session as error messages name it."""
        return repr(self.session.name or self.session.pk)

    def move_to(self, session_id: str) -> None:
        """Give the session another id, also in the rows that refer to it."""
        self.session.pk = session_id
        rows: list[Any] = [*self.runs.values(), *self.events]
        for row in rows:
            row.session_id = session_id


def parse(file: IO[bytes]) -> Iterator[ParsedSession]:
    """Yield the sessions of the file.

    Raises:
        InvalidFile: not a file of `manage.py export`, or a line is invalid, or the end is missing.
    """
    settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=settings.VAR_DIR) as contents:
        yield from _sessions(file, contents)


def _sessions(file: IO[bytes], contents: IO[bytes]) -> Iterator[ParsedSession]:
    """Yield the sessions. Each has the bytes of its files in `contents` until the next one begins."""
    count = number = 0
    session: ParsedSession | None = None
    for number, data in _lines(file):
        if number == 1:
            _check_format(data)
            continue
        kind, body = _kind(number, data)
        if kind in ("session", "end") and session is not None:
            _check_session(number, session)
            yield session
            session, count = None, count + 1
        if kind == "end":
            if body != {"sessions": count, "lines": number - 1}:
                raise InvalidFile(
                    number, f"The file should have {body}, but has {count} sessions in {number - 1} lines."
                )
            if next(_lines(file), None) is not None:
                raise InvalidFile(number + 1, "There are lines after the end.")
            return
        try:
            if kind == "session":
                contents.truncate(0)
                session = _begin(number, body, contents)
            elif session is None:
                raise ValidationError(f"A {kind} without a session.")
            else:
                _ADD[kind](session, body)
        except ValidationError as error:
            raise InvalidFile(number, " ".join(error.messages)) from None
    raise InvalidFile(number + 1, "The end line is missing: the file was cut off.")


def _lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, 1):
        try:
            yield number, exact_json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidFile(number, f"This is not JSON: {error}.") from None


def _check_format(data: Any) -> None:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidFile(1, "This is not a file of `manage.py export`.")
    if data.get("version") != VERSION:
        raise InvalidFile(1, f"Its version is {data.get('version')!r}; this product reads version {VERSION}.")


def _kind(number: int, data: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(data, dict) and len(data) == 1:
        kind, body = next(iter(data.items()))
        if kind in (*KINDS, _ARTIFACT, "end") and isinstance(body, dict):
            return kind, body
    raise InvalidFile(number, f"A line must be an object with one key of: {', '.join(KINDS)}.")


def _begin(number: int, body: dict[str, Any], contents: IO[bytes]) -> ParsedSession:
    owner, agent, parent = (body.pop(name, None) for name in ("owner", "agent", "parent"))
    if not all(name is None or isinstance(name, str) for name in (owner, agent, parent)):
        raise ValidationError("'owner', 'agent' and 'parent' must be names.")
    if "id" not in body:
        raise ValidationError("'id' is missing.")
    return ParsedSession(number, from_dict("session", body), owner, agent, parent, contents)


def _add_run(to: ParsedSession, body: dict[str, Any]) -> None:
    parent = body.pop("parent", None)
    run = from_dict("run", body, session_id=to.session.pk, settled=True)
    if run.follows is None:
        run.follows = run.overrides.follows  # in files from before it was a column
    if not 0 <= run.followed < run.number:
        raise ValidationError(f"'follows' must be a number below that of the run, {run.number}.")
    if not run.is_finished:
        raise ValidationError(f"The run is {run.status}: only runs that have ended can be imported.")
    if run.pk in to.runs or run.number in to.numbers:
        raise ValidationError("The session has two runs of this id or number.")
    to.runs[run.pk] = run
    to.numbers.add(run.number)
    if parent is not None:
        to.parents[run.pk] = _run_id(parent)


def _run_id(text: Any) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except (TypeError, ValueError, AttributeError):
        raise ValidationError(f"{str(text)[:60]!r} is not the id of a run.") from None


def _part(kind: str, rows: Callable[[ParsedSession], list[Any]]) -> Callable[[ParsedSession, dict[str, Any]], None]:
    """Return a function that adds a row that belongs to a run."""

    def add(to: ParsedSession, body: dict[str, Any]) -> None:
        run = _run_id(body.pop("run", None))
        if run not in to.runs:
            raise ValidationError(f"Run {run} is not in this session, or is in a later line.")
        rows(to).append(from_dict(kind, body, run_id=run))

    return add


def _add_file(to: ParsedSession, body: dict[str, Any]) -> None:
    """Add a file of a run, or one that a user uploaded. Its size and type are those of its bytes."""
    run, data = body.pop("run", None), _decoded(body.pop("data", None))
    if run is not None and _run_id(run) not in to.runs:
        raise ValidationError(f"Run {run} is not in this session, or is in a later line.")
    row = from_dict("file", body, run_id=run and _run_id(run))
    if not row.pk.startswith("file-") or "/" in row.pk:
        raise ValidationError("'id' must begin with 'file-', and be without a slash.")
    row.size = len(data)
    row.name = clean_name(row.name)
    row.media_type = media_type(data[:HEAD], "x.json" if row.kind == File.Kind.STRUCTURED else row.name)
    offset = to.contents.seek(0, 2)
    to.contents.write(data)
    to.files.append(ParsedFile(row, to.contents, offset))


def _decoded(data: Any) -> bytes:
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ValidationError("'data' must be base64.") from None
    if not decoded:
        raise ValidationError("'data' is empty.")
    return decoded


def _add_artifact(to: ParsedSession, body: dict[str, Any]) -> None:
    try:
        body["id"] = f"file-{uuid.UUID(body.get('id')).hex}"
    except (TypeError, ValueError, AttributeError):
        raise ValidationError("'id' must be a UUID.") from None
    if body.get("data") == "":
        return  # of an empty one there is nothing to keep
    if body.get("kind") not in File.Kind.values:
        body["kind"] = File.Kind.RESOURCE.value
    _add_file(to, body)


def _begins_after(session: Session) -> int:
    """Return the number before the first event that the session has itself."""
    return max(session.pruned_seq, session.parent_seq)


def _add_event(to: ParsedSession, body: dict[str, Any]) -> None:
    data = body.pop("data", None)
    if not isinstance(data, dict):
        raise ValidationError("'data' must be an object.")
    event = from_dict("event", body, session_id=to.session.pk, data=exact_json.dumps(data).decode())
    before = to.events[-1].seq if to.events else _begins_after(to.session)
    # The rule for every reader of a log: see docs/protocol.md.
    if not event.first <= before + 1 <= event.seq or event.first > event.seq:
        raise ValidationError(f"Event {event.first}..{event.seq} does not follow {before}.")
    to.events.append(event)


_ADD: dict[str, Callable[[ParsedSession, dict[str, Any]], None]] = {
    "run": _add_run,
    "step": _part("step", lambda to: to.steps),
    "approval": _part("approval", lambda to: to.approvals),
    "steered": _part("steered", lambda to: to.steered),
    "file": _add_file,
    _ARTIFACT: _add_artifact,
    "event": _add_event,
}


def _check_session(number: int, parsed: ParsedSession) -> None:
    """Check what concerns the session as a whole. `number` is the line after it."""
    session = parsed.session
    last = parsed.events[-1].seq if parsed.events else _begins_after(session)
    if last != session.last_seq:
        raise InvalidFile(
            number, f"Session {parsed.label} should end with event {session.last_seq}, but ends with {last}."
        )
    if any(run.number > session.run_count for run in parsed.runs.values()):
        raise InvalidFile(parsed.line, f"Session {parsed.label} should have {session.run_count} runs, but has more.")
    for kind, keys in (
        ("steps", [(step.run_id, step.index) for step in parsed.steps]),
        ("approvals", [(approval.run_id, approval.step) for approval in parsed.approvals]),
        ("steered messages", [row.message_id for row in parsed.steered]),
        ("files", [file.row.pk for file in parsed.files]),
        ("messages", [run.message_id for run in parsed.runs.values() if run.message_id is not None]),
    ):
        if len(keys) != len(set(keys)):
            raise InvalidFile(parsed.line, f"Session {parsed.label} has duplicate {kind}.")

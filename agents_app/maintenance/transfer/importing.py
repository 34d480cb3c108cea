"""Create the sessions of a file, once."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from django.contrib.auth import get_user_model
from django.db import transaction

from agents_app.files import saving
from agents_app.maintenance.transfer.parsing import InvalidFile, ParsedSession, parse
from agents_app.models import Agent, Event, File, Run, Session, Step
from agents_app.models.sessions import make_session_id

_ROWS_AT_ONCE = 500


@dataclass(slots=True)
class ImportResult:
    """The ids of the created sessions, and of those that existed already."""

    created: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)


def import_sessions(file: IO[bytes], *, owner: str | None = None, dry_run: bool = False) -> ImportResult:
    """Create the sessions of the file, each in one transaction. Sessions that exist already are unchanged.

    The file is read twice: first to check that all of it can be imported. `owner`: the name of the user who gets the
    sessions, instead of the one in the file.

    Raises:
        InvalidFile: the file has an error or a conflict with existing rows; nothing was changed.
    """
    seen: set[Any] = set()
    result = ImportResult()
    for parsed in _parse(file, owner):
        keys = {parsed.session.pk, (parsed.session.owner, parsed.session.name)}
        if keys & seen:
            raise InvalidFile(parsed.line, f"Session {parsed.label} is in the file twice.")
        seen |= keys
        (result.existing if _exists(parsed) else result.created).append(parsed.session.pk)
    if dry_run:
        return result
    file.seek(0)
    parents: dict[uuid.UUID, uuid.UUID] = {}
    forks: dict[str, str] = {}
    for parsed in _parse(file, owner):
        if parsed.session.pk not in result.existing:
            _save(parsed)
            parents |= parsed.parents
            if parsed.parent is not None:
                forks[parsed.session.pk] = parsed.parent
    _link_parents(parents)
    _link_forks(forks, {*result.created, *result.existing})
    return result


def _parse(file: IO[bytes], owner: str | None) -> Iterator[ParsedSession]:
    """Yield the sessions of the file with their owners.

    In files from before sessions had names, the id is the name: the session gets the id that it has here, or a new one.
    """
    for parsed in parse(file):
        session = parsed.session
        parsed.file_owner = _owner(parsed, owner)
        session.owner = None if session.deleted_at else parsed.file_owner
        if not session.name:
            session.name = session.pk
            here = Session.objects.filter(owner=session.owner, name=session.name).first()
            parsed.move_to(here.pk if here else make_session_id())
        yield parsed


def _owner(parsed: ParsedSession, name: str | None) -> Any:
    name = name or parsed.owner
    if name is None:
        return None
    users = get_user_model().objects
    user = users.filter(username=name).first()
    if user is None:
        raise InvalidFile(parsed.line, f"There is no user {name!r}: create one, or use --owner.")
    return user


def _exists(parsed: ParsedSession) -> bool:
    """Whether the session exists already, perhaps with newer runs.

    Raises:
        InvalidFile: there is another session with this id.
    """
    session = Session.objects.filter(pk=parsed.session.pk).first()
    of_its_name = Session.objects.filter(owner=parsed.session.owner, name=parsed.session.name)
    if of_its_name.exclude(pk=parsed.session.pk).exists():
        raise InvalidFile(parsed.line, f"There is another session {parsed.label}: delete it, or rename one.")
    existing = dict(Run.objects.filter(pk__in=list(parsed.runs)).values_list("pk", "session"))
    if session is None and not existing:
        _check_files(parsed)
        return False
    if elsewhere := [run for run, session_id in existing.items() if session_id != parsed.session.pk]:
        raise InvalidFile(parsed.line, f"Run {elsewhere[0]} exists already, in session {existing[elsewhere[0]]!r}.")
    if session is None or len(existing) < len(parsed.runs) or session.last_seq < parsed.session.last_seq:
        raise InvalidFile(parsed.line, f"There is another session {parsed.label}: delete it, or rename one.")
    return True


def _check_files(parsed: ParsedSession) -> None:
    """Check that no file exists already, except uploads of the same owner, which several sessions may name."""
    existing = File.objects.filter(pk__in=[file.row.pk for file in parsed.files])
    owner = parsed.file_owner
    uploads = {file.row.pk for file in parsed.files if file.row.run_id is None}
    for file in existing:
        if file.pk not in uploads or file.run_id is not None or file.owner_id != (owner and owner.pk):
            raise InvalidFile(parsed.line, f"File {file.pk} exists already.")


def _store_files(parsed: ParsedSession) -> list[File]:
    """Store the bytes of the files that do not exist. Returns their rows."""
    existing = set(File.objects.filter(pk__in=[f.row.pk for f in parsed.files]).values_list("pk", flat=True))
    owner = parsed.file_owner
    rows = []
    for file in parsed.files:
        if file.row.pk not in existing:
            file.row.owner = owner
            file.row.stored = saving.store(owner.pk if owner else None, file.pieces())
            rows.append(file.row)
    return rows


def _save(parsed: ParsedSession) -> None:
    """Save the rows as they are in the file: `save` would set new dates."""
    session = parsed.session
    session.agent = Agent.objects.filter(name=parsed.agent).first()
    agents = {
        agent.name: agent for agent in Agent.objects.filter(name__in={r.agent_name for r in parsed.runs.values()})
    }
    files = _store_files(parsed)
    with transaction.atomic():
        session.save_base(raw=True, force_insert=True)
        for run in parsed.runs.values():
            run.agent = agents.get(run.agent_name)
            run.save_base(raw=True, force_insert=True)
        Step.objects.bulk_create(parsed.steps, _ROWS_AT_ONCE)
        for message in parsed.steered:
            message.session = session
        for row in [*parsed.approvals, *parsed.steered, *files]:
            row.save_base(raw=True, force_insert=True)
        Event.objects.bulk_create(parsed.events, _ROWS_AT_ONCE)


def _link_parents(parents: dict[uuid.UUID, uuid.UUID]) -> None:
    """Set the parents of runs, as far as they exist."""
    existing = set(Run.objects.filter(pk__in=set(parents.values())).values_list("pk", flat=True))
    for run, parent in parents.items():
        if parent in existing:
            Run.objects.filter(pk=run).update(parent=parent)


def _link_forks(forks: dict[str, str], in_file: set[str]) -> None:
    """Set what sessions were forked from: a session of the file, or of the same owner.

    Each begins earlier than its fork, so that none can be its own ancestor.
    """
    for pk, parent_id in forks.items():
        session, parent = (Session.objects.filter(pk=each).first() for each in (pk, parent_id))
        if session is None or parent is None or parent.parent_seq >= session.parent_seq:
            continue
        if parent_id in in_file or (parent.deleted_at is None and parent.owner_id == session.owner_id):
            Session.objects.filter(pk=pk).update(parent=parent)

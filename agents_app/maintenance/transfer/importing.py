"""Sessions of a file → rows, once."""

import uuid
from dataclasses import dataclass, field
from typing import IO, Any

from django.contrib.auth import get_user_model

from agents_app.database.threads import write_transaction
from agents_app.maintenance.transfer.parsing import Broken, Portable, sessions
from agents_app.models import Agent, Artifact, Event, Run, Session, Step

_ROWS_AT_ONCE = 500


@dataclass(slots=True)
class Imported:
    """What came of it: the sessions that were made, and those that were there already."""

    made: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)


def import_sessions(file: IO[bytes], *, owner: str | None = None, dry_run: bool = False) -> Imported:
    """Make the sessions of the file, each in one transaction; those that are there already stay as they are.

    The file is read twice: first to see that all of it can be imported. `owner`: whose they are to be; otherwise
    whoever has the name that the file says.

    Raises:
        Broken: something in the file is wrong, or cannot be here; nothing was changed.
    """
    seen: set[str] = set()
    outcome = Imported()
    for found in sessions(file):
        if found.session.pk in seen:
            raise Broken(found.line, f"Session {found.session.pk!r} is in the file twice.")
        seen.add(found.session.pk)
        _owner(found, owner)
        (outcome.known if _is_known(found) else outcome.made).append(found.session.pk)
    if dry_run:
        return outcome
    file.seek(0)
    parents: dict[uuid.UUID, uuid.UUID] = {}
    for found in sessions(file):
        if found.session.pk not in outcome.known:
            _save(found, _owner(found, owner))
            parents |= found.parents
    _join(parents)
    return outcome


def _owner(found: Portable, name: str | None) -> Any:
    name = name or found.owner
    if name is None:
        return None
    users = get_user_model().objects
    user = users.filter(username=name).first()
    if user is None:
        raise Broken(found.line, f"There is no user {name!r} here: make one, or say --owner.")
    return user


def _is_known(found: Portable) -> bool:
    """Whether the session is here already, whole and perhaps with more that happened since.

    Raises:
        Broken: another one is in its place.
    """
    session = Session.objects.filter(pk=found.session.pk).first()
    here = dict(Run.objects.filter(pk__in=list(found.runs)).values_list("pk", "session"))
    if session is None and not here:
        if artifact := Artifact.objects.filter(pk__in=[row.pk for row in found.artifacts]).first():
            raise Broken(found.line, f"There is an artifact {artifact.pk} here already.")
        return False
    if elsewhere := [run for run, place in here.items() if place != found.session.pk]:
        raise Broken(found.line, f"Run {elsewhere[0]} is here already, in session {here[elsewhere[0]]!r}.")
    if session is None or len(here) < len(found.runs) or session.last_seq < found.session.last_seq:
        raise Broken(found.line, f"There is another session {found.session.pk!r} here: delete it, or rename one.")
    return True


def _save(found: Portable, owner: Any) -> None:
    """As it is in the file: nothing is dated anew, as an ordinary save would."""
    session = found.session
    session.owner = owner
    session.agent = Agent.objects.filter(name=found.agent).first()
    agents = {agent.name: agent for agent in Agent.objects.filter(name__in={r.agent_name for r in found.runs.values()})}
    with write_transaction():
        session.save_base(raw=True, force_insert=True)
        for run in found.runs.values():
            run.agent = agents.get(run.agent_name)
            run.save_base(raw=True, force_insert=True)
        Step.objects.bulk_create(found.steps, _ROWS_AT_ONCE)
        for row in [*found.approvals, *found.artifacts]:
            row.save_base(raw=True, force_insert=True)
        Event.objects.bulk_create(found.events, _ROWS_AT_ONCE)


def _join(parents: dict[uuid.UUID, uuid.UUID]) -> None:
    """Let runs that other runs asked for know them again, where those are here."""
    here = set(Run.objects.filter(pk__in=set(parents.values())).values_list("pk", flat=True))
    for run, parent in parents.items():
        if parent in here:
            Run.objects.filter(pk=run).update(parent=parent)

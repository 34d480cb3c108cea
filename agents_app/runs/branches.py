"""Other versions of a run, and the choice between them: the branches of a session."""

import uuid
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from agents_app import event_log
from agents_app.database.errors import storage_errors
from agents_app.event_log.vocabulary import RunReplaced
from agents_app.exceptions import InvalidRequest, NotFound
from agents_app.files.parts import StoredPart
from agents_app.models import Run, Session
from agents_app.runs import paths
from agents_app.runs.new_run import IfBusy, NewRun
from agents_app.runs.sessions import lock_session
from agents_app.runs.starting import Started, start

_NO_SUCH_RUN = "The session has no such run."


@dataclass(frozen=True, slots=True)
class Place:
    """A run, in its own session or in a fork that shares it."""

    run: Run
    session: Session


def find(user: Any, run_id: uuid.UUID, session_id: str | None = None) -> Place:
    """Return the run of that id as the user sees it. `session_id`: in that session, which has it or shares it.

    Raises:
        InvalidRequest: there is no such session. Names the field.
        NotFound: there is no such run, or the session does not have it.
    """
    with storage_errors():
        if session_id is None:
            run = Run.objects.visible_to(user).select_related("session", "agent").filter(pk=run_id).first()
            if run is None:
                raise NotFound("There is no such run.")
            return Place(run, run.session)
        session = Session.objects.find(user, session_id)
        if session is None:
            raise InvalidRequest("'session_id' names no session of yours.", param="session_id")
        run = Run.objects.select_related("session", "agent").filter(pk=run_id).first()
        if run is None or not _has(session, run):
            raise NotFound(_NO_SUCH_RUN)
        return Place(run, session)


def _has(session: Session, run: Run) -> bool:
    """Whether the run is one of the session, or of those that it shares with its parent."""
    upto = None
    for holder in paths.lineage(session):
        if holder.pk == run.session_id:
            return upto is None or (run.last_seq is not None and run.last_seq <= upto)
        upto = holder.parent_seq
    return False


def regenerate(
    place: Place,
    *,
    user: Any,
    trigger: str,
    message: str | None = None,
    parts: list[StoredPart] | None = None,
    agent_name: str | None = None,
    message_id: str | None = None,
    if_busy: IfBusy = "enqueue",
) -> Started:
    """Start another version of a run: one that continues what that one continued.

    `message`: the edited message, with its `parts`; None for the same message. `agent_name`: None for the same agent.

    Raises:
        AgentError: as of `start`.
    """
    run = place.run
    new = NewRun(
        user=user,
        message=run.prompt if message is None else message,
        parts=run.parts if message is None else parts,
        existing_session=place.session.pk,
        agent_name=agent_name or (run.agent.name if run.agent else run.agent_name),
        enable_reasoning=run.enable_reasoning,
        message_id=message_id,
        if_busy=if_busy,
        trigger=trigger,
        overrides=run.overrides,
        follows=run.followed,
        replaces=run,
    )
    return start(new)


def select(place: Place, *, user: Any) -> None:
    """Make the run a part of the session's path, which then ends with what was said last after it.

    Raises:
        SessionNotFound: the session was deleted meanwhile.
        NotFound: the run was.
    """
    with storage_errors(), transaction.atomic():
        session = lock_session(user, place.session.pk)
        tree = _Tree(session)
        number = place.run.number
        if number not in tree.nodes:
            raise NotFound(_NO_SUCH_RUN)
        before = tree.path(session.head)
        if number in before:
            return
        head = tree.newest_after(number)
        after = tree.path(head)
        session.chosen = None if head == session.run_count else head
        Session.objects.filter(pk=session.pk).update(chosen=session.chosen, updated_at=timezone.now())
        left, entered = _first_not_in(before, after), _first_not_in(after, before)
        if left and entered:
            ids = [str(tree.nodes[each].pk) for each in (left, entered)]
            data = RunReplaced(run_id=ids[0], by_run_id=ids[1], head=head, newest=session.run_count)
            event_log.record(session.pk, None, [data])


def _first_not_in(path: list[int], other: list[int]) -> int | None:
    """Return the number of the first run of a path, which begins with its newest, that the other path lacks."""
    return next((number for number in reversed(path) if number not in other), None)


class _Node(NamedTuple):
    """A run in the tree. `followed`: the number of the run that it continues."""

    pk: uuid.UUID
    followed: int


class _Tree:
    """The runs of a session, and of those that it was forked from, by number."""

    def __init__(self, session: Session) -> None:
        self.nodes: dict[int, _Node] = {}
        upto: int | None = None
        for holder in paths.lineage(session):
            rows = holder.runs.order_by()
            if upto is not None:
                rows = rows.filter(last_seq__lte=upto)
            for pk, number, follows in rows.values_list("pk", "number", "follows"):
                self.nodes[number] = _Node(pk, number - 1 if follows is None else follows)
            upto = holder.parent_seq

    def path(self, end: int) -> list[int]:
        """Return the numbers of the runs that lead to `end`, from there to the first."""
        numbers = []
        while (end := self._existing(end)) > 0:
            numbers.append(end)
            end = self.nodes[end].followed
        return numbers

    def newest_after(self, number: int) -> int:
        """Return the number of the newest run that continues this one, however many are in between; else its own."""
        after = {number}
        for each in sorted(each for each in self.nodes if each > number):
            if self._existing(self.nodes[each].followed) in after:
                after.add(each)
        return max(after)

    def _existing(self, number: int) -> int:
        """Return the number, or the next lower one if its run was deleted; 0 if there is none."""
        while number > 0 and number not in self.nodes:
            number -= 1
        return number

"""Recognize the results of calls for which a run waits, so that the same run goes on with them."""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agents_app.database.errors import storage_errors
from agents_app.exceptions import AlreadyAnswered
from agents_app.models import Approval, Run, Session
from agents_app.runs import client_tools
from agents_app.runs.client_tools import LONGEST_OUTPUT, Output
from chat_app.openai_api.contents import MessageContent
from chat_app.openai_api.segments import call_id
from chat_app.openai_api.validation import MISSING, TOO_LONG, refuse

_CALL_ID = re.compile(r"call_([0-9a-f]{32})_(\d{1,9})", re.ASCII)
_PENDING = Approval.Status.PENDING


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of a call, with the field of the request that names the call, and its own."""

    content: MessageContent
    id_path: str
    path: str

    @property
    def text(self) -> str:
        return self.content.text


@dataclass(frozen=True, slots=True)
class Continuation:
    """A run that goes on with the results of its model turn `turn`: `outputs`, by their steps.

    If it has them already, `first_seq` is the number of the event that told so.
    """

    run: Run
    turn: int
    outputs: dict[int, Output]
    first_seq: int | None = None


def find(user: Any, results: Mapping[str, CallResult], *, field: str, session_id: str | None) -> Continuation | None:
    """Return the run that these results continue; None if no run waits for them.

    `field`: of the request, that they are in. `session_id`: the id of the session that they must belong to.

    Raises:
        InvalidRequest: a result is missing, or is not of the session, or of a call that the others are not of.
        AlreadyAnswered: the run has gone on with other results.
    """
    with storage_errors():
        run, turn, actions = _turn_of(user, next(iter(results)), session_id)
    calls = {call_id(run.pk, action.step): action for action in actions} if run else {}
    pending = {name: action.step for name, action in calls.items() if action.status == _PENDING}
    unknown = next((name for name in results if name not in calls), None)
    if run is None or unknown is not None:
        if pending or session_id is not None:
            refuse(results[unknown or next(iter(results))].id_path, "is not the id of a call that waits for a result.")
        return None
    if missing := next((name for name in pending if name not in results), None):
        refuse(field, f"has no result for the call {missing!r}.", MISSING)
    for result in results.values():
        if result.content.parts:
            refuse(result.path, "must be text: the run waits for it.")
        if len(result.text) > LONGEST_OUTPUT:
            refuse(result.path, f"is longer than {LONGEST_OUTPUT:,} characters.", TOO_LONG)
    is_repetition = all(_has(calls[name], result) for name, result in results.items() if name not in pending)
    if pending and is_repetition:
        return Continuation(run, turn, {step: Output(results[name].text) for name, step in pending.items()})
    if not pending and run.is_finished and session_id is None:
        return None
    if not is_repetition:
        raise AlreadyAnswered("Another result of this call was given before, or is too late.", code="action_answered")
    return Continuation(run, turn, {}, first_seq=max(action.answered_seq or 0 for action in actions))


def _turn_of(user: Any, name: str, session_id: str | None) -> tuple[Run | None, int, list[Approval]]:
    """Return the run with this call, the model turn that made it, and that turn's calls of the client."""
    if match := _CALL_ID.fullmatch(name):
        run = Run.objects.visible_to(user).select_related("session").filter(pk=uuid.UUID(match[1])).first()
        if run is not None and session_id in (None, run.session_id):
            turn = run.steps.filter(index=int(match[2])).values_list("iteration", flat=True).first() or 0
            steps = run.steps.filter(iteration=turn).values("index")
            if actions := list(run.approvals.filter(kind=Approval.Kind.CLIENT_TOOL, step__in=steps)):
                return run, turn, actions
    return None, 0, []


def _has(action: Approval, result: CallResult) -> bool:
    return action.status == Approval.Status.APPROVED and action.response == result.text


def require_results(session: Session | None, field: str) -> None:
    """Check that no run of the session waits for results, which the request lacks: the next run would wait, too.

    Raises:
        InvalidRequest: one does. Names the call.
    """
    with storage_errors():
        call = client_tools.open_call(session.pk) if session else None
    if call:
        refuse(field, f"has no result for the call {call_id(call.run_id, call.step)!r}.", MISSING)


def abandoned(user: Any, names: Iterable[str]) -> list[Run]:
    """Return the stateless runs that wait for results of these calls, though the client has gone on without them."""
    ids = {uuid.UUID(match[1]) for name in names if (match := _CALL_ID.fullmatch(name))}
    if not ids:
        return []
    waiting = Run.objects.visible_to(user).filter(pk__in=ids, status=Run.Status.WAITING)
    return [run for run in waiting if run.overrides.stateless]

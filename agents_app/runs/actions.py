"""What must be done for runs: approve a call, answer a question, execute a tool. One way to answer, from every door."""

from typing import Any

from agents_app.exceptions import InvalidRequest, NotFound
from agents_app.models import Approval
from agents_app.models.approvals import parse_action_id
from agents_app.runs import approvals

OUTCOMES = ("answered", "declined")


def find(user: Any, action_id: str, session_id: str | None = None) -> Approval:
    """Return the action of that id. `session_id`: only if it is of this session.

    Raises:
        NotFound: there is none that the user may see.
    """
    if parts := parse_action_id(action_id):
        rows = Approval.objects.visible_to(user).select_related("run__session").filter(run=parts[0], step=parts[1])
        if session_id is not None:
            rows = rows.filter(run__session=session_id)
        if row := rows.first():
            return row
    raise NotFound("There is no such action.")


def answer(
    user: Any,
    action_id: str,
    *,
    outcome: str,
    response: str | None = None,
    arguments: dict[str, Any] | None = None,
    reason: str = "",
    for_run: bool = False,
    is_error: bool = False,
    session_id: str | None = None,
) -> Approval:
    """Answer or decline an action. To answer an approval is to approve the call.

    `response`: to a question, or the result of a tool; `is_error`: which says that the tool failed.

    Raises:
        InvalidRequest: a value does not fit this kind of action. Names the field.
        NotFound, AlreadyAnswered, Conflict, StorageUnavailable: as of `approvals.answer`.
    """
    action = find(user, action_id, session_id)
    by, is_answered = user.get_username(), outcome == "answered"
    if is_error and action.kind != Approval.Kind.CLIENT_TOOL:
        raise InvalidRequest("'is_error' is for the result of a tool.", param="is_error")
    if action.kind != Approval.Kind.APPROVAL:
        if arguments is not None:
            raise InvalidRequest("'arguments' are for approvals: this action needs a 'response'.", param="arguments")
        if is_answered and response is None:
            raise InvalidRequest("'response' is missing: the answer, as text.", param="response")
        text = response if is_answered else None
        approvals.respond(action.run, action.step, action.kind, response=text, is_error=is_error, reason=reason, by=by)
    else:
        if response is not None:
            raise InvalidRequest("'response' is for other actions: this one approves a call.", param="response")
        approvals.answer(
            action.run,
            tool_call_id=action.tool_call_id,
            approved=is_answered,
            reason=reason,
            for_run=for_run,
            arguments=arguments,
            by=by,
        )
    action.refresh_from_db()
    return action

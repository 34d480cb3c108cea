"""Request approvals, take the answers, and expire approvals that nobody answered."""

import datetime
import logging
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from msgspec import UNSET

from agents_app import event_log
from agents_app.access import rights
from agents_app.database.errors import storage_errors
from agents_app.engine.client_tools import LONGEST_OUTPUT
from agents_app.engine.events import StepDone
from agents_app.engine.questions import LONGEST_RESPONSE
from agents_app.engine.toolset import ToolError, check_schema
from agents_app.event_log import EventData
from agents_app.event_log.vocabulary import ActionResolved, ApprovalResolved
from agents_app.exceptions import AlreadyAnswered, Conflict, InvalidRequest, NotFound
from agents_app.foreign_text import clean_json
from agents_app.models import Approval, Run, Session
from agents_app.queue import run_queue
from agents_app.runs.cancelling import cancel
from agents_app.runs.frames import response_schema

logger = logging.getLogger(__name__)

LONGEST_REASON = 2000
_PENDING, _APPROVED, _DENIED = Approval.Status.PENDING, Approval.Status.APPROVED, Approval.Status.DENIED
_OUTCOMES = {_APPROVED: "answered", _DENIED: "declined", Approval.Status.EXPIRED: "expired"}


def request(run: Run, rows: list[StepDone], expires_at: datetime.datetime) -> None:
    """Record which calls wait for a person, in the caller's transaction. Existing rows stay as they are."""
    requested = [
        Approval(
            run=run,
            step=row.index,
            tool_call_id=row.tool_call_id,
            tool_name=row.tool_name,
            arguments=row.arguments or {},
            tool_digest=row.tool_digest,
            parameters=row.parameters,
            kind=row.action or Approval.Kind.APPROVAL,
            expires_at=expires_at,
        )
        for row in rows
    ]
    Approval.objects.bulk_create(requested, ignore_conflicts=True)


def settle_parked(run: Run) -> None:
    """Continue a run that has just been parked if it has nothing left to wait for, in the same transaction.

    An answer or a cancellation may have arrived while the worker was parking it.
    """
    stopped = Run.objects.filter(pk=run.pk, cancel_requested=True).exists()
    if stopped or not Approval.objects.filter(run=run, status=_PENDING).exists():
        _continue(run)


def answer(
    run: Run,
    *,
    tool_call_id: str | None,
    approved: bool,
    reason: str = "",
    for_run: bool = False,
    arguments: dict[str, Any] | None = None,
    by: str,
) -> None:
    """Approve or deny a pending call, or all of the run's if none is named.

    `for_run` approves the tool for the rest of the run. `arguments` replace those of the approved call. Once no call
    is pending, the run continues on any worker.

    Raises:
        InvalidRequest: the reason is too long, or the arguments do not fit the tool, or not a single approved call.
        NotFound: no such call is pending.
        AlreadyAnswered: somebody else answered first, or the approval expired.
        Conflict: the run's owner may not run its agent any more; the run ends.
        StorageUnavailable: the database refused; nothing was written.
    """
    if len(reason) > LONGEST_REASON:
        raise InvalidRequest(f"'reason' is longer than {LONGEST_REASON:,} characters.", param="reason")
    with storage_errors(), transaction.atomic():
        _lock(run)
        pending = _pending(run, tool_call_id)
        _check_rights(run)
        if any(approval.kind != Approval.Kind.APPROVAL for approval in pending):
            raise InvalidRequest("This call waits for an answer: give it, by its 'action_id'.", param="tool_call_id")
        if arguments is not None:
            _check_edited(pending, arguments, approved=approved)
        edited = arguments if pending and arguments != pending[0].arguments else None
        if approved and for_run and edited is None:
            tools = {approval.tool_name for approval in pending}
            pending = list(run.approvals.filter(status=_PENDING, tool_name__in=tools))
        status = _APPROVED if approved else _DENIED
        _write(run, pending, status, reason, by, for_run=approved and for_run, edited=edited)


def respond(
    run: Run, step: int, kind: str, *, response: str | None, is_error: bool = False, reason: str = "", by: str
) -> int:
    """Answer a question of the agent, or give the result of a call; decline to with `response` None.

    Returns the number of the event that tells it.

    Raises:
        InvalidRequest: the response does not fit, or the reason is too long.
        NotFound, AlreadyAnswered, Conflict, StorageUnavailable: as of `answer`.
    """
    if len(reason) > LONGEST_REASON:
        raise InvalidRequest(f"'reason' is longer than {LONGEST_REASON:,} characters.", param="reason")
    with storage_errors(), transaction.atomic():
        _lock(run)
        action = run.approvals.filter(step=step, kind=kind).first()
        if action is None:
            raise NotFound("This run has no such action.")
        if action.status != _PENDING:
            who = f" by {action.by}" if action.by else ""
            text = f"This action was already {_OUTCOMES.get(Approval.Status(action.status), action.status)}{who}."
            raise AlreadyAnswered(text, code="action_answered")
        _check_rights(run)
        if response is not None:
            check_response(action, response)
        status = _DENIED if response is None else _APPROVED
        return _write(run, [action], status, reason, by, response=response or "", is_error=is_error)


def schema_of(approval: Approval) -> dict[str, Any]:
    """Return the JSON Schema of the response, or of the arguments of a call to approve."""
    if approval.kind == Approval.Kind.APPROVAL:
        return approval.parameters
    return response_schema(approval.kind, approval.arguments)


def _check_rights(run: Run) -> None:
    if denial := rights.denial(rights.with_rights(Run.objects.filter(pk=run.pk)).get()):
        raise Conflict(f"{denial} The run ends.", code=denial.code)


def check_response(action: Approval, response: str) -> None:
    """Check that this can be the response.

    Raises:
        InvalidRequest: it cannot.
    """
    if clean_json(response) != response:
        raise InvalidRequest("'response' has characters that cannot be stored, such as NUL.", param="response")
    if action.kind == Approval.Kind.CLIENT_TOOL:
        if len(response) > LONGEST_OUTPUT:
            raise InvalidRequest(f"'response' is longer than {LONGEST_OUTPUT:,} characters.", param="response")
        return
    schema = response_schema(action.kind, action.arguments)
    if "enum" in schema and response not in schema["enum"]:
        options = ", ".join(repr(option) for option in schema["enum"])
        raise InvalidRequest(f"'response' must be one of the options: {options}.", param="response")
    if not response.strip() or len(response) > LONGEST_RESPONSE:
        raise InvalidRequest(f"'response' must have 1 to {LONGEST_RESPONSE:,} characters.", param="response")


def _check_edited(pending: list[Approval], arguments: dict[str, Any], *, approved: bool) -> None:
    if not approved:
        raise InvalidRequest("'arguments' are for a call that is approved.", param="arguments")
    if len(pending) > 1:
        raise InvalidRequest("'arguments' are for one call: name it by 'tool_call_id'.", param="arguments")
    if clean_json(arguments) != arguments:
        raise InvalidRequest("'arguments' have characters that cannot be stored, such as NUL.", param="arguments")
    try:
        check_schema(pending[0].tool_name, pending[0].parameters, arguments)
    except ToolError as error:
        raise InvalidRequest(f"'arguments' do not fit the tool: {error}", param="arguments") from None


def end_denied() -> int:
    """Have a worker end the runs that wait for a person, though their owner may not run their agent any more.

    Returns their number. The worker's claim says why such a run fails.
    """
    denied = rights.denied(Run.objects.filter(status=Run.Status.WAITING).order_by("session_id"))[:100]
    count = 0
    for run in denied:
        with transaction.atomic():
            _lock(run)
            count += _continue(run)
    return count


def expire() -> int:
    """Deny the calls that nobody answered in time. Returns their number."""
    overdue = Approval.objects.filter(status=_PENDING, expires_at__lte=timezone.now())
    count = 0
    for run_id in set(overdue.values_list("run_id", flat=True)[:100]):
        with transaction.atomic():
            run = Run.objects.get(pk=run_id)
            _lock(run)
            if run.overrides.stateless:  # its client has gone, and nobody can read what it would answer
                cancel(run, by="")
                count += 1
                continue
            expired = list(overdue.filter(run=run))
            _write(run, expired, Approval.Status.EXPIRED, "Nobody answered in time.", "")
            count += len(expired)
    return count


def _lock(run: Run) -> None:
    Session.objects.select_for_update().filter(pk=run.session_id).first()  # sessions before runs: see event_log.sql
    run.refresh_from_db(fields=["status"])


def _pending(run: Run, tool_call_id: str | None) -> list[Approval]:
    named = run.approvals.all() if tool_call_id is None else run.approvals.filter(tool_call_id=tool_call_id)
    existing: QuerySet[Approval] = named.order_by("-created_at", "-step")
    if tool_call_id is None:
        existing = existing.filter(kind=Approval.Kind.APPROVAL)  # the others need more than yes
    if pending := [approval for approval in existing if approval.status == _PENDING]:
        return pending
    if not existing or tool_call_id is None:
        raise NotFound("No call of this run waits for approval." if tool_call_id is None else _unknown(tool_call_id))
    raise _already_answered(existing[0])


def _already_answered(last: Approval) -> AlreadyAnswered:
    who = f" by {last.by}" if last.by else ""
    return AlreadyAnswered(f"This call was already {Approval.Status(last.status).value}{who}.")


def _unknown(tool_call_id: str) -> str:
    return f"No call {tool_call_id[:64]!r} waits for approval here."


def _write(
    run: Run,
    pending: list[Approval],
    status: Approval.Status,
    reason: str,
    by: str,
    *,
    for_run: bool = False,
    edited: dict[str, Any] | None = None,
    response: str = "",
    is_error: bool = False,
) -> int:
    if not pending:
        return 0
    resolved = [_resolved(approval, status, reason, by, edited, response) for approval in pending]
    seq = event_log.record(run.session_id, run.pk, resolved)[-1]
    ids = [approval.pk for approval in pending]
    Approval.objects.filter(pk__in=ids).update(
        status=status,
        reason=reason,
        by=by,
        for_run=for_run,
        edited_arguments=edited,
        response=response,
        is_error=is_error,
        answered_at=timezone.now(),
        answered_seq=seq,
    )
    if run.status == Run.Status.WAITING and not run.approvals.filter(status=_PENDING).exists():
        _continue(run)
    return seq


def _resolved(
    approval: Approval, status: Approval.Status, reason: str, by: str, edited: dict[str, Any] | None, response: str
) -> EventData:
    if approval.kind != Approval.Kind.APPROVAL:
        shown = response if approval.kind == Approval.Kind.QUESTION else ""  # a result is a step of its own
        return ActionResolved(
            action_id=approval.action_id, outcome=_OUTCOMES[status], response=shown, reason=reason, by=by
        )
    return ApprovalResolved(
        tool_call_id=approval.tool_call_id,
        tool_name=approval.tool_name,
        approved=status == _APPROVED,
        reason=reason,
        by=by,
        arguments=UNSET if edited is None else edited,
    )


def _continue(run: Run) -> bool:
    is_waiting = Run.objects.filter(pk=run.pk, status=Run.Status.WAITING).update(status=Run.Status.QUEUED) > 0
    if is_waiting:
        run_queue.enqueue_next(run.session_id)
    return is_waiting

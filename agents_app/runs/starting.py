"""Start a run: write it and its place in the queue."""

import datetime
import re
import secrets
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from django.db import connection, transaction
from django.utils import timezone

from agents_app import event_log
from agents_app.access import limits
from agents_app.database.errors import storage_errors
from agents_app.database.prepared import Parameter, Prepared, insert, parameter_value
from agents_app.event_log.vocabulary import RunReplaced
from agents_app.exceptions import AgentNotFound, InvalidRequest, SessionBusy, SessionNotFound
from agents_app.files.parts import StoredPart, title_of
from agents_app.models import Agent, Run, ScheduledTask, Session, prompt_variables
from agents_app.models.agent_names import NamedAgent, find_enabled
from agents_app.models.agent_versions import current_id, definition
from agents_app.models.agents import enabled_agents
from agents_app.models.overrides import NO_OVERRIDES, Overrides
from agents_app.models.sessions import SESSION_ID, SESSION_ID_RULE, make_session_id
from agents_app.observability import context, metrics
from agents_app.queue import run_queue
from agents_app.runs import budgets, client_tools, steering
from agents_app.runs.budgets import Left
from agents_app.runs.cancelling import cancel
from agents_app.runs.messages import LONGEST_MESSAGE_ID, validate_message

IfBusy = Literal["enqueue", "reject", "interrupt", "steer"]
MOST_INTERRUPTED = 50  # runs that one message stops, in the transaction that starts its own


_OWN = Prepared(
    lambda: Session.objects.select_for_update(of=("self",)).filter(owner=Parameter("user"), name=Parameter("name"))
)
_BY_ID = Prepared(lambda: Session.objects.select_for_update(of=("self",)).filter(pk=Parameter("pk")))
_SAME_MESSAGE = Prepared(
    lambda: Run.objects.filter(session=Parameter("session"), message_id=Parameter("message_id")).order_by()
)
_TOUCH = (
    "UPDATE agents_app_session SET run_count = %s, chosen = NULL, agent_id = %s, title = %s, updated_at = %s"
    " WHERE id = %s"
)


@dataclass(frozen=True, slots=True)
class Started:
    """An accepted run. `created` is False if the same `message_id` started it before.

    `budget_left`: what its budgets had left when it was accepted; None if it has none.
    """

    run: Run
    created: bool
    budget_left: Left | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A task that starts a run: for the moment `at`, or by hand. `retry` counts the repetitions after a failure.

    A task starts one run for each moment and retry: the INSERT of a second one breaks `run_once_per_due_moment`.
    """

    task: ScheduledTask
    at: datetime.datetime | None = None
    retry: int = 0


def start(
    *,
    user: Any,
    message: str,
    parts: list[StoredPart] | None = None,
    session_id: str | None = None,
    existing_session: str | None = None,
    new_session_id: str | None = None,
    agent_name: str | None = None,
    enable_reasoning: bool = True,
    message_id: str | None = None,
    if_busy: IfBusy = "enqueue",
    trigger: str,
    parent: Run | None = None,
    due: Due | None = None,
    overrides: Overrides = NO_OVERRIDES,
    follows: int | None = None,
    replaces: Run | None = None,
    metadata: dict[str, str] | None = None,
    priority: int = 0,
) -> Started:
    """Write a run and its place in the queue, in one transaction.

    `parts`: the texts and files of a message that has files, as `files.parts` returned them; `message` is its text.
    `session_id`: a session as the user names it, which is created if there is none; if it is left out, too.
    `existing_session`: instead, the id of one that must exist. `new_session_id`: the id of the one that is created.
    `agent_name`: `name`, or `name@3` for a version of it. `due`: the task that starts it, and the moment. `overrides`
    reach no further than the agent's own limits, unless the user is an administrator. `follows`: the number of the run
    that it continues, instead of the one at the end of the session's path. `replaces`: the run of which it is another
    version. `if_busy`: with "steer", a run in progress takes the message, and is returned; if it ends first, the
    message is the next run. `metadata`: that of the session from now on, as `validate_metadata` lets pass; None leaves
    it as it is. `priority`: as `limits.check_priority` lets pass.

    Raises:
        IntegrityError: the task has started a run for that moment and retry before; nothing was written.
        InvalidRequest, AgentNotFound, SessionNotFound, SessionBusy, RateLimited, BudgetReached: nothing was written.
        StorageUnavailable: the database refused; nothing was written.
    """
    validate_message(message, has_files=bool(parts) or overrides.end_with_results)
    _check_ids(message_id, session_id)
    limits.check_priority(user, priority)
    with storage_errors(), transaction.atomic():
        session = _session(user, session_id, existing_session, new_session_id)
        if message_id and (existing := _SAME_MESSAGE.first(session=session.pk, message_id=message_id)):
            return Started(_of_session(steering.steered_run(existing), session), created=False)
        if if_busy == "steer" and message_id and (taken := steering.same(session, message_id)):
            return Started(_of_session(taken, session), created=False)
        agent, version_id = _agent(agent_name, session, user)
        version_id = version_id or current_id(agent)
        client_tools.check_names(overrides, definition(version_id))
        limits.admit(user, trigger)
        token = getattr(user, "token_uid", None) or (parent.token if parent else None)
        budget_left = budgets.admit(owner_id=session.owner_id, agent_id=agent.pk, token=token)
        _settle_busy(session, if_busy, by=user.get_username())
        target = steering.find_target(session, message) if if_busy == "steer" else None
        if metadata is not None:
            session.metadata = metadata
            Session.objects.filter(pk=session.pk).update(metadata=metadata)
        run = _create(
            session,
            agent,
            agent_version_id=version_id,
            prompt=message,
            parts=parts,
            enable_reasoning=enable_reasoning,
            message_id=message_id or (steering.make_message_id() if target else None),
            steers=target.pk if target else None,
            trigger=trigger,
            token=token,
            priority=parent.priority if parent else priority,
            parent=parent,
            task=due.task if due else None,
            scheduled_for=due.at if due else None,
            retry=due.retry if due else 0,
            overrides=allowed(overrides, version_id, user),
            follows=overrides.follows if follows is None else follows,
            replaces=replaces.pk if replaces else None,
            variables=_variables(version_id, user, agent, session),
        )
        if replaces is not None:
            _announce_replaced(run, replaces)
        if target is not None:
            steering.offer(run, target)
            return Started(_of_session(target, session), created=True, budget_left=budget_left)
        run_queue.enqueue_next(session.pk)
        transaction.on_commit(metrics.RUNS_STARTED.labels(str(trigger)).inc)
        return Started(run, created=True, budget_left=budget_left)


def _check_ids(message_id: str | None, session_id: str | None) -> None:
    if message_id and (len(message_id) > LONGEST_MESSAGE_ID or "\x00" in message_id):
        raise InvalidRequest(f"'message_id' is longer than {LONGEST_MESSAGE_ID} characters.", param="message_id")
    if session_id is not None and not re.match(SESSION_ID, session_id):
        raise InvalidRequest(f"'session_id' {SESSION_ID_RULE}.", param="session_id")


def _session(user: Any, session_id: str | None, existing: str | None, new_id: str | None) -> Session:
    if existing is not None:
        return lock_session(user, existing)
    name = session_id or f"s-{secrets.token_hex(8)}"
    return open_session(user, name, new_id=new_id, is_new=session_id is None)


def open_session(user: Any, session_id: str, *, new_id: str | None = None, is_new: bool = False) -> Session:
    """Return the session that `user` means, locked. If there is none, create one of that name, which `user` owns.

    `new_id`: the id of a session that is created. `is_new`: the name was made up a moment ago.

    Raises:
        SessionNotFound: `session_id` is the id of somebody else's.
    """
    if not is_new:
        if own := _OWN.first(user=user.pk, name=session_id):
            return own
        # By its own id: if another transaction has created it since the look above, `session_id` is its name.
        if named := Session.objects.resolve(user, session_id):
            return lock_session(user, named.pk)
    created = Session(pk=new_id or make_session_id(), owner=user, name=session_id)
    if not insert(created, ignore_conflicts=True):
        own = _OWN.first(user=user.pk, name=session_id)
        if own is None:
            raise SessionNotFound("There is no such session.")
        return own
    if not is_new:
        event_log.announce(created)
    return created


def lock_session(user: Any, session_id: str) -> Session:
    """Return the session of that id, locked.

    Raises:
        SessionNotFound: there is none that the user may use.
    """
    session = _BY_ID.first(pk=session_id)
    if session is None or not session.is_visible_to(user):
        raise SessionNotFound("There is no such session.")
    return session


def _agent(name: str | None, session: Session, user: Any) -> NamedAgent:
    if name:
        return find_enabled(user, name, allows_draft=True)
    agents = enabled_agents(user)
    if session.run_count:  # somebody has answered in it; another agent may be of another provider
        if session.agent_id is not None and (agent := agents.of_id.first(user=user.pk, pk=session.agent_id)):
            return NamedAgent(agent, None)
        raise AgentNotFound(
            "This session's agent was deleted or disabled, or you may not use it any more: name another one."
        )
    if agent := agents.default.first(user=user.pk):
        return NamedAgent(agent, None)
    raise AgentNotFound("There is no enabled agent. Add one in the admin.")


def allowed(overrides: Overrides, version_id: uuid.UUID, user: Any) -> Overrides:
    """Return the options, within the limits of the agent's version unless the user is an administrator."""
    if user.is_superuser or overrides == NO_OVERRIDES:
        return overrides
    version = definition(version_id)
    return overrides.within(timeout=version.limits.timeout, max_tokens=version.parameters.max_tokens)


def _variables(version_id: uuid.UUID, user: Any, agent: Agent, session: Session) -> dict[str, str] | None:
    names = definition(version_id).variables
    return prompt_variables.values(names, user=user, agent_name=agent.name, metadata=session.metadata or {})


def _settle_busy(session: Session, if_busy: IfBusy, *, by: str) -> None:
    if if_busy in ("enqueue", "steer"):
        return
    unfinished = list(session.runs.unfinished().order_by("number"))
    if unfinished and if_busy == "reject":
        raise SessionBusy("A run of this session is still in progress.")
    if len(unfinished) > MOST_INTERRUPTED:
        text = f"More than {MOST_INTERRUPTED} runs of this session are unfinished: stop them first, with `interrupt`."
        raise SessionBusy(text)
    for run in unfinished:
        cancel(run, by=by)


def _of_session(run: Run, session: Session) -> Run:
    run.session = session
    return run


def _announce_replaced(run: Run, replaced: Run) -> None:
    number = run.number
    data = RunReplaced(run_id=str(replaced.pk), by_run_id=str(run.pk), head=number, newest=number)
    event_log.record(run.session_id, None, [data])


def _create(session: Session, agent: Agent, *, follows: int | None, **fields: Any) -> Run:
    """Write a run at the end of the session's path, or after the run of the number `follows`."""
    follows = session.head if follows is None else follows
    session.run_count += 1
    session.chosen = None
    session.agent = agent
    session.title = session.title or title_of(fields["prompt"], fields["parts"])
    with connection.cursor() as cursor:
        updated_at = parameter_value(timezone.now())
        cursor.execute(_TOUCH, [session.run_count, agent.pk, session.title, updated_at, session.pk])
    ids = context.current()
    run = Run(
        session=session,
        number=session.run_count,
        follows=None if follows == session.run_count - 1 else follows,
        agent=agent,
        agent_name=agent.name,
        request_id=ids.request_id,
        traceparent=ids.traceparent,
        **fields,
    )
    insert(run)
    return run

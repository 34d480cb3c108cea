"""Start a run: write it and its place in the queue."""

import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from agents_app import event_log
from agents_app.access import limits, own_agents
from agents_app.database.errors import storage_errors
from agents_app.database.prepared import Parameter, Prepared, insert, parameter_value
from agents_app.event_log.vocabulary import RunReplaced
from agents_app.exceptions import AgentNotFound, SessionBusy
from agents_app.files.parts import title_of
from agents_app.models import Agent, Run, Session, agent_names, prompt_variables
from agents_app.models.agent_names import NamedAgent, find_enabled
from agents_app.models.agent_versions import current_id, definition
from agents_app.models.agents import enabled_agents
from agents_app.models.overrides import NO_OVERRIDES, Overrides
from agents_app.observability import context, metrics
from agents_app.queue import run_queue
from agents_app.runs import budgets, client_tools, steering
from agents_app.runs.budgets import Left
from agents_app.runs.cancelling import cancel
from agents_app.runs.new_run import IfBusy, NewRun
from agents_app.runs.sessions import lock_session, open_session

MOST_INTERRUPTED = 50  # runs that one message stops, in the transaction that starts its own


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


def start(new: NewRun) -> Started:
    """Write a run and its place in the queue, in one transaction.

    Raises:
        IntegrityError: the task has started a run for that moment and retry before; nothing was written.
        InvalidRequest, AgentNotFound, SessionNotFound, SessionBusy, RateLimited, BudgetReached: nothing was written.
        StorageUnavailable: the database refused; nothing was written.
    """
    new.check()
    with storage_errors(), transaction.atomic():
        session = _session(new)
        if same := _same_message(new, session):
            return Started(_of_session(same, session), created=False)
        agent, version_id = _agent(new, session)
        client_tools.check_names(new.overrides, definition(version_id))
        limits.admit(new.user, new.trigger)
        token = getattr(new.user, "token_uid", None) or (new.parent.token if new.parent else None)
        budget_left = budgets.admit(owner_id=session.owner_id, agent_id=agent.pk, token=token)
        _settle_busy(session, new.if_busy, by=new.user.get_username())
        if new.metadata is not None:
            session.metadata = new.metadata
            Session.objects.filter(pk=session.pk).update(metadata=new.metadata)
        steered = steering.find_target(session, new.message) if new.if_busy == "steer" else None
        run = _create(new, session, agent, version_id, token=token, steers=steered)
        if new.replaces is not None:
            _announce_replaced(run, new.replaces)
        if steered is not None:
            steering.offer(run, steered)
            return Started(_of_session(steered, session), created=True, budget_left=budget_left)
        run_queue.enqueue_next(session.pk)
        transaction.on_commit(metrics.RUNS_STARTED.labels(str(new.trigger)).inc)
        return Started(run, created=True, budget_left=budget_left)


def _session(new: NewRun) -> Session:
    if new.existing_session is not None:
        return lock_session(new.user, new.existing_session)
    name = new.session_id or f"s-{secrets.token_hex(8)}"
    return open_session(new.user, name, new_id=new.new_session_id, is_new=new.session_id is None)


def _same_message(new: NewRun, session: Session) -> Run | None:
    """Return the run that the same message started before, or that took it."""
    if not new.message_id:
        return None
    if run := _SAME_MESSAGE.first(session=session.pk, message_id=new.message_id):
        return steering.steered_run(run)
    return steering.same(session, new.message_id) if new.if_busy == "steer" else None


def _agent(new: NewRun, session: Session) -> tuple[Agent, uuid.UUID]:
    """Return the agent, and the id of the version with which it runs."""
    named = _named_agent(new, session)
    return named.agent, named.version_id or current_id(named.agent)


def _named_agent(new: NewRun, session: Session) -> NamedAgent:
    if new.agent_name:
        is_draft = agent_names.parse(new.agent_name).is_draft
        named = find_enabled(new.user, new.agent_name, allows_draft=True)
        if is_draft and not own_agents.is_editor(new.user, named.agent):  # not any more
            raise AgentNotFound(f"You may not change the agent {named.agent.name!r}, so you have no draft of it.")
        return named
    agents = enabled_agents(new.user)
    if session.run_count:  # somebody has answered in it; another agent may be of another provider
        if session.agent_id is not None and (agent := agents.of_id.first(user=new.user.pk, pk=session.agent_id)):
            return NamedAgent(agent, None)
        raise AgentNotFound(
            "This session's agent was deleted or disabled, or you may not use it any more: name another one."
        )
    if agent := agents.default.first(user=new.user.pk):
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


def _create(
    new: NewRun, session: Session, agent: Agent, version_id: uuid.UUID, *, token: uuid.UUID | None, steers: Run | None
) -> Run:
    """Write a run at the end of the session's path, or after the run of the number that it follows."""
    follows = new.overrides.follows if new.follows is None else new.follows
    follows = session.head if follows is None else follows
    session.run_count += 1
    session.chosen = None
    session.agent = agent
    session.title = session.title or title_of(new.message, new.parts)
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
        agent_version_id=version_id,
        prompt=new.message,
        parts=new.parts,
        enable_reasoning=new.enable_reasoning,
        message_id=new.message_id or (steering.make_message_id() if steers else None),
        steers=steers.pk if steers else None,
        trigger=new.trigger,
        token=token,
        priority=new.parent.priority if new.parent else new.priority,
        parent=new.parent,
        task=new.due.task if new.due else None,
        scheduled_for=new.due.at if new.due else None,
        retry=new.due.retry if new.due else 0,
        overrides=allowed(new.overrides, version_id, new.user),
        replaces=new.replaces.pk if new.replaces else None,
        variables=_variables(version_id, new.user, agent, session),
        request_id=ids.request_id,
        traceparent=ids.traceparent,
    )
    insert(run)
    return run

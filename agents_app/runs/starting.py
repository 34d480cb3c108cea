"""Verbs over runs: start one, cancel one, end one that no worker has, and what its model is told."""

import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal

from django.db import transaction
from django.utils import timezone

from agents_app import event_log, queue
from agents_app.access import limits
from agents_app.database.errors import storage_errors
from agents_app.database.threads import write_transaction
from agents_app.engine.spec import Conversation, Decision, Message, OpenTool, ToolCall, Usage, told_call, told_turn
from agents_app.exceptions import (
    AgentNotFound,
    InvalidRequest,
    SessionBusy,
    SessionNotFound,
)
from agents_app.models import Agent, Approval, Provider, Run, Session, Step, TokenUse
from agents_app.models.runs import SESSION_ID, SESSION_ID_RULE
from agents_app.observability import context, metrics
from agents_app.runs import pricing

LONGEST_MESSAGE = 100_000
LONGEST_MESSAGE_ID = 128
_REMEMBERED_RUNS = 200
_MOST_CHARACTERS_OF_A_TOKEN = 6  # as much as the engine's estimate may become

IfBusy = Literal["enqueue", "reject", "interrupt"]


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was accepted. `created` is False where the same `message_id` had started it before."""

    run: Run
    created: bool


def start(
    *,
    user: Any,
    message: str,
    session_id: str | None = None,
    agent_name: str | None = None,
    enable_reasoning: bool = True,
    message_id: str | None = None,
    if_busy: IfBusy = "enqueue",
    trigger: str,
    parent: Run | None = None,
    given: dict[str, Any] | None = None,
) -> Started:
    """Write a run and its place in the queue, in one transaction.

    `given`, for this run alone: `instructions` that follow the agent's own; `parameters` instead of the agent's;
    `messages` of the conversation before the prompt, after those of the session; `follows`, the number of the
    session's run that this one continues, where that is not the one before it.

    Raises:
        InvalidRequest, AgentNotFound, SessionNotFound, SessionBusy, RateLimited: nothing was written.
        StorageUnavailable: the database refused; nothing was written.
    """
    _check(message, message_id, session_id)
    with storage_errors(), write_transaction():
        session = open_session(user, session_id or f"s-{secrets.token_hex(8)}")
        if message_id and (known := session.runs.filter(message_id=message_id).first()):
            return Started(known, created=False)
        agent = _agent(agent_name, session, user)
        limits.admit(user, trigger)
        _settle_busy(session, if_busy, by=user.get_username())
        run = _create(
            session,
            agent,
            prompt=message,
            enable_reasoning=enable_reasoning,
            message_id=message_id or None,
            trigger=trigger,
            parent=parent,
            given=given,
        )
        enqueue_next(session.pk)
        transaction.on_commit(metrics.RUNS_STARTED.labels(str(trigger)).inc)
        return Started(run, created=True)


def enqueue_next(session_id: str) -> None:
    """Hand over the session's next run, if there is one and nothing goes on; in the caller's transaction."""
    head = Run.objects.unfinished().filter(session=session_id).order_by("number").only("status").first()
    if head is not None and head.status == Run.Status.QUEUED:
        queue.enqueue(head.pk)


def _check(message: str, message_id: str | None, session_id: str | None) -> None:
    if not message.strip():
        raise InvalidRequest("'message' must not be empty.", param="message")
    if len(message) > LONGEST_MESSAGE:
        raise InvalidRequest(f"'message' is longer than {LONGEST_MESSAGE:,} characters.", param="message")
    if "\x00" in message:
        raise InvalidRequest("'message' must not contain NUL characters.", param="message")
    if message_id and (len(message_id) > LONGEST_MESSAGE_ID or "\x00" in message_id):
        raise InvalidRequest(f"'message_id' is longer than {LONGEST_MESSAGE_ID} characters.", param="message_id")
    if session_id is not None and not re.match(SESSION_ID, session_id):
        raise InvalidRequest(f"'session_id' {SESSION_ID_RULE}.", param="session_id")


def open_session(user: Any, session_id: str) -> Session:
    """The session of that id, locked; made for `user`, who then owns it, where there is none.

    Raises:
        SessionNotFound: it is somebody else's.
    """
    Session.objects.bulk_create([Session(pk=session_id, owner=user)], ignore_conflicts=True)
    locked = Session.objects.visible_to(user).select_for_update(of=("self",))
    session = locked.filter(pk=session_id).first()
    if session is None:
        raise SessionNotFound("There is no such session.")
    return session


def _agent(name: str | None, session: Session, user: Any) -> Agent:
    agents = Agent.objects.visible_to(user).enabled()
    if name:
        agent = agents.filter(name=name).first()
        if agent is None:
            raise AgentNotFound(f"There is no enabled agent {name[:100]!r}.")
        return agent
    if session.agent_id is not None and (agent := agents.filter(pk=session.agent_id).first()):
        return agent
    if agent := agents.default():
        return agent
    raise AgentNotFound("There is no enabled agent. Add one in the admin.")


def _settle_busy(session: Session, if_busy: IfBusy, *, by: str) -> None:
    if if_busy == "enqueue":
        return
    unfinished = list(session.runs.unfinished().order_by("number"))
    if unfinished and if_busy == "reject":
        raise SessionBusy("A run of this session is still going on.")
    for run in unfinished:
        cancel(run, by=by)


def _create(session: Session, agent: Agent, **fields: Any) -> Run:
    session.run_count += 1
    session.agent = agent
    session.title = session.title or " ".join(fields["prompt"].split())[:80]
    session.save(update_fields=["run_count", "agent", "title", "updated_at"])
    ids = context.current()
    return Run.objects.create(
        session=session,
        number=session.run_count,
        agent=agent,
        agent_name=agent.name,
        request_id=ids.request_id,
        traceparent=ids.traceparent,
        **fields,
    )


def cancel(run: Run, *, by: str) -> None:
    """Really stop a run: a queued one ends here and now, a running one is ended by its worker.

    Raises:
        StorageUnavailable: the database refused; the run goes on.
    """
    with storage_errors(), write_transaction():
        Session.objects.select_for_update().filter(pk=run.session_id).first()  # sessions before runs: see log.sql
        asked = {"cancel_requested": True, "cancelled_by": by, "cancel_requested_at": timezone.now()}
        waiting = Run.objects.filter(pk=run.pk, status__in=[Run.Status.QUEUED, Run.Status.WAITING])
        if waiting.update(**asked):
            end_cancelled(Run.objects.get(pk=run.pk))
            enqueue_next(run.session_id)
        elif Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING).update(**asked):
            queue.cancel(run.pk)
        else:
            return
        # Not in here: whoever locks two sessions out of order may meet somebody who does it the other way.
        transaction.on_commit(lambda: cancel_children(run, by=by))


def cancel_children(run: Run, *, by: str) -> None:
    """Stop what the run's agent has asked other agents for: nobody waits for it any more."""
    for child in run.children.unfinished():
        cancel(child, by=by)


def end_cancelled(run: Run) -> None:
    """End a cancelled run that no worker executes, in the caller's transaction."""
    events: list[tuple[str, dict[str, Any]]] = []
    if run.first_seq is None:
        events.append(("reasoning_start", start_data(run)))
    usage, iterations = _used(run)
    events += cancel_events(run, usage, iterations)
    numbers = event_log.record(run.session_id, run.pk, events)
    Run.objects.filter(pk=run.pk).update(
        status=Run.Status.CANCELLED,
        **Run.used(usage.as_dict()),
        **_price(run, usage),
        finished_at=timezone.now(),
        first_seq=run.first_seq or numbers[0],
        last_seq=numbers[-1],
    )
    TokenUse.objects.add([run.pk])
    close_approvals(run)
    transaction.on_commit(metrics.RUNS_FINISHED.labels(Run.Status.CANCELLED.value).inc)


def _used(run: Run) -> tuple[Usage, int]:
    """What it had used up, and the turns that it had taken, before it waited for a person or for a worker."""
    steps = list(run.steps.only("run", "usage", "iteration")) if run.attempt else []
    return (_most(steps), max(step.iteration for step in steps)) if steps else (Usage(), 0)


def _price(run: Run, usage: Usage) -> dict[str, Any]:
    """What that cost, and with which model, as columns of the run."""
    if not usage.requests or run.agent is None:
        return {"cost": None if usage.requests else Decimal(0)}
    provider = run.agent.provider or Provider.objects.default()
    model = run.agent.model or (provider.default_model if provider else "")
    return {"model": model, "cost": pricing.tariff(provider, model).cost(usage.as_dict())}


def close_approvals(run: Run) -> None:
    """The run has ended: nothing of it waits for a person any more; in the caller's transaction."""
    pending = Approval.objects.filter(run=run, status=Approval.Status.PENDING)
    pending.update(status=Approval.Status.CANCELLED, answered_at=timezone.now())


def start_data(run: Run) -> dict[str, Any]:
    """The data of `reasoning_start`."""
    return {
        "agent": run.agent_name,
        "message": run.prompt,
        "enable_reasoning": run.enable_reasoning,
        "message_id": run.message_id,
        "trigger": run.trigger,
    }


def cancel_events(run: Run, usage: Usage | None = None, iterations: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """How a cancelled run ends in the log."""
    message = f"Stopped by {run.cancelled_by}." if run.cancelled_by else "Stopped."
    return [
        ("interrupted", {"message": message, "by": run.cancelled_by}),
        ("reasoning_complete", complete_data(run, Run.Status.CANCELLED, usage or Usage(), iterations)),
    ]


def complete_data(run: Run, status: str, usage: Usage, iterations: int) -> dict[str, Any]:
    """The data of `reasoning_complete`."""
    since = run.started_at or run.created_at
    return {
        "status": str(status),
        "iterations": iterations,
        "usage": usage.as_dict(),
        "duration_ms": max(0, round((timezone.now() - since).total_seconds() * 1000)),
    }


def conversation(run: Run, context_tokens: int = 8192) -> Conversation:
    """What the model is told: the session before this run, and this run's own finished steps.

    `context_tokens`: what the model takes in; of the session, no more is read than might fit.
    """
    steps = list(run.steps.order_by("index")) if run.attempt > 1 else []
    decisions, approved_tools = _decisions(run) if steps else ({}, set())
    history = _history(run, room=context_tokens * _MOST_CHARACTERS_OF_A_TOKEN) if run.number > 1 else []
    rebuilt = Conversation(history=history + _given_messages(run), prompt=run.prompt, approved_tools=approved_tools)
    _replay(rebuilt, steps, decisions)
    if steps:
        rebuilt.next_index = steps[-1].index + 1
        rebuilt.usage = _most(steps)
    return rebuilt


def _most(steps: list[Step]) -> Usage:
    """The newest usage: it only grows, and the step of the highest index is not always the last that was written."""
    return Usage(**{name: max(step.usage.get(name, 0) for step in steps) for name in Usage().as_dict()})


def _decisions(run: Run) -> tuple[dict[int, Decision], set[str]]:
    """What was said to the run's calls that wait for a person, by step; and the tools approved for the rest of it."""
    said: dict[int, Decision] = {}
    for_run: set[str] = set()
    for approval in run.approvals.exclude(status=Approval.Status.PENDING):
        approved = approval.status == Approval.Status.APPROVED
        said[approval.step] = Decision(approved, approval.reason, approval.by)
        if approved and approval.for_run:
            for_run.add(approval.tool_name)
    return said, for_run


def _replay(rebuilt: Conversation, steps: list[Step], decisions: Mapping[int, Decision] = MappingProxyType({})) -> None:
    """Add the tool rounds of this run. A round whose calls were not all written never happened."""
    uses = {(s.iteration, s.tool_call_id): s for s in steps if s.kind == Step.Kind.TOOL_USE}
    for step in steps:
        if step.kind == Step.Kind.TOOL_USE and "text" in step.provider_data:
            rebuilt.turns.append(_assistant_turn(step, uses))
            rebuilt.iteration = step.iteration
        elif step.kind == Step.Kind.TOOL_RESULT and step.status == Step.Status.FINISHED:
            said = Message("tool", step.content, tool_call_id=step.tool_call_id, is_error=step.is_error)
            rebuilt.turns.append(said)
        elif step.kind == Step.Kind.TOOL_RESULT:
            use = uses[step.iteration, step.tool_call_id]
            call = ToolCall(use.tool_call_id, use.tool_name, use.content)
            started, decision = step.status == Step.Status.STARTED, decisions.get(step.index)
            rebuilt.open_tools.append(OpenTool(step.index, call, step.iteration, started, decision))


def _assistant_turn(first: Step, uses: dict[tuple[int, str], Step]) -> Message:
    calls = [_tool_call(use) for use in uses.values() if use.iteration == first.iteration]
    return told_turn(first.provider_data, calls)


def _tool_call(use: Step) -> ToolCall:
    return told_call(use.tool_call_id, use.tool_name, use.arguments, use.content)


def _recent(run: Run, room: int) -> list[Run]:
    """The session's finished runs that this one continues, oldest first, as far back as they may fit into `room`."""
    earlier = Run.objects.filter(session=run.session_id, number__lt=run.number).order_by("-number")
    recent: list[Run] = []
    follows = _followed(run)
    for each in earlier.exclude(status__in=Run.UNFINISHED)[:_REMEMBERED_RUNS].iterator(chunk_size=5):
        if each.number > follows:
            continue
        recent.append(each)
        follows = _followed(each)
        room -= len(each.prompt) + len(each.result) + sum(len(told.content) for told in _given_messages(each))
        if room < 0:
            break
    return recent[::-1]


def _followed(run: Run) -> int:
    """The number of the run that it continues: the one before it, unless its caller named another."""
    return (run.given or {}).get("follows", run.number - 1)


def _given_messages(run: Run) -> list[Message]:
    """What its caller told of the conversation before the prompt."""
    return [
        Message(
            told["role"],
            told["content"],
            tool_calls=tuple(told_call(c["id"], c["name"], {}, c["arguments"]) for c in told.get("tool_calls", ())),
            tool_call_id=told.get("tool_call_id", ""),
        )
        for told in (run.given or {}).get("messages", ())
    ]


def _history(run: Run, *, room: int) -> list[Message]:
    """The session's earlier runs as messages, oldest first, with the tool rounds of those that completed."""
    recent = _recent(run, room)
    steps: dict[uuid.UUID, list[Step]] = {}
    kinds = [Step.Kind.TOOL_USE, Step.Kind.TOOL_RESULT]
    completed = [r.pk for r in recent if r.status == Run.Status.COMPLETED]
    for step in Step.objects.filter(run__in=completed, kind__in=kinds).order_by("run", "index"):
        steps.setdefault(step.run_id, []).append(step)
    messages: list[Message] = []
    for earlier_run in recent:
        told = Conversation(history=[], prompt="")
        _replay(told, steps.get(earlier_run.pk, []))
        messages += _given_messages(earlier_run)
        messages.append(Message("user", earlier_run.prompt))
        messages += told.turns
        messages.append(Message("assistant", earlier_run.result or f"[No answer: {earlier_run.status}.]"))
    return messages

"""Build what a run's model reads: the session before the run, and the run's own finished steps."""

import uuid
from collections.abc import Mapping
from types import MappingProxyType

from django.db.models import Q

from agents_app.engine.spec import (
    Conversation,
    Decision,
    Message,
    OpenTool,
    ToolCall,
    replay_answer,
    replay_call,
    replay_turn,
)
from agents_app.models import Approval, Run, Step
from agents_app.models.steps import usage_of

_MOST_RUNS = 200
_MOST_CHARACTERS_PER_TOKEN = 6  # the most that the engine's estimate can become


def conversation(run: Run, context_tokens: int = 8192) -> Conversation:
    """Return what the model reads. `context_tokens` is the size of its window: no more of the session is loaded."""
    steps = list(run.steps.order_by("index")) if run.attempt > 1 else []
    decisions, approved_tools = _decisions(run) if steps else ({}, {})
    history = _history(run, room=context_tokens * _MOST_CHARACTERS_PER_TOKEN) if run.number > 1 else []
    rebuilt = Conversation(history=history + _earlier_messages(run), prompt=run.prompt, approved_tools=approved_tools)
    _replay(rebuilt, steps, decisions)
    if steps:
        rebuilt.next_index = steps[-1].index + 1
        rebuilt.usage = usage_of(steps)
    return rebuilt


def _decisions(run: Run) -> tuple[dict[int, Decision], dict[str, str]]:
    """Return people's decisions by step, and the digests of the tools that are approved for the rest of the run."""
    decisions: dict[int, Decision] = {}
    for_run: dict[str, str] = {}
    for approval in run.approvals.exclude(status=Approval.Status.PENDING):
        approved = approval.status == Approval.Status.APPROVED
        decisions[approval.step] = Decision(approved, approval.reason, approval.by, approval.tool_digest)
        if approved and approval.for_run:
            for_run[approval.tool_name] = approval.tool_digest
    return decisions, for_run


def _replay(rebuilt: Conversation, steps: list[Step], decisions: Mapping[int, Decision] = MappingProxyType({})) -> None:
    """Add the tool rounds of this run. A round counts only if all of its calls were written."""
    uses = {(s.iteration, s.tool_call_id): s for s in steps if s.kind == Step.Kind.TOOL_USE}
    for step in steps:
        if step.kind == Step.Kind.TOOL_USE and "text" in step.provider_data:
            rebuilt.turns.append(_assistant_turn(step, uses))
            rebuilt.iteration = step.iteration
        elif step.kind == Step.Kind.TOOL_RESULT and step.status == Step.Status.FINISHED:
            result = Message("tool", step.content, tool_call_id=step.tool_call_id, is_error=step.is_error)
            rebuilt.turns.append(result)
        elif step.kind == Step.Kind.TOOL_RESULT:
            use = uses[step.iteration, step.tool_call_id]
            call = ToolCall(use.tool_call_id, use.tool_name, use.content)
            started, decision = step.status == Step.Status.STARTED, decisions.get(step.index)
            cut = use.provider_data.get("cut", "")
            rebuilt.open_tools.append(OpenTool(step.index, call, step.iteration, started, decision, cut))


def _assistant_turn(first: Step, uses: dict[tuple[int, str], Step]) -> Message:
    calls = [_tool_call(use) for use in uses.values() if use.iteration == first.iteration]
    return replay_turn(first.provider_data, calls)


def _tool_call(use: Step) -> ToolCall:
    return replay_call(use.tool_call_id, use.tool_name, use.arguments, use.content, use.provider_data)


def _recent(run: Run, room: int) -> list[Run]:
    """Return the finished runs that this run continues, oldest first, as many as fit into `room` characters."""
    previous = Run.objects.filter(session=run.session_id, number__lt=run.number).order_by("-number")
    recent: list[Run] = []
    follows = _followed(run)
    for each in previous.exclude(status__in=Run.UNFINISHED)[:_MOST_RUNS].iterator(chunk_size=5):
        if each.number > follows:
            continue
        recent.append(each)
        follows = _followed(each)
        earlier_messages = sum(len(message["content"]) for message in each.overrides.messages)
        room -= len(each.prompt) + len(each.result) + earlier_messages
        if room < 0:
            break
    return recent[::-1]


def _followed(run: Run) -> int:
    """Return the number of the run that this run continues: the one before it, unless its caller named another."""
    return run.overrides.follows or run.number - 1


def _earlier_messages(run: Run) -> list[Message]:
    """Return the conversation before the prompt as its caller sent it."""
    return [
        Message(
            message["role"],
            message["content"],
            tool_calls=tuple(
                replay_call(c["id"], c["name"], {}, c["arguments"]) for c in message.get("tool_calls", ())
            ),
            tool_call_id=message.get("tool_call_id", ""),
        )
        for message in run.overrides.messages
    ]


def _history(run: Run, *, room: int) -> list[Message]:
    """Return the session's earlier runs as messages, oldest first, with the tool rounds of completed runs."""
    recent = _recent(run, room)
    steps: dict[uuid.UUID, list[Step]] = {}
    rounds_or_own = Q(kind__in=[Step.Kind.TOOL_USE, Step.Kind.TOOL_RESULT]) | Q(provider_data__has_key="origin")
    completed = [r.pk for r in recent if r.status == Run.Status.COMPLETED]
    for step in Step.objects.filter(rounds_or_own, run__in=completed).order_by("run", "index"):
        steps.setdefault(step.run_id, []).append(step)
    messages: list[Message] = []
    for earlier_run in recent:
        rounds = Conversation(history=[], prompt="")
        _replay(rounds, steps.get(earlier_run.pk, []))
        messages += _earlier_messages(earlier_run)
        messages.append(Message("user", earlier_run.prompt))
        messages += rounds.turns
        messages.append(_answer(earlier_run, steps.get(earlier_run.pk, [])))
    return messages


def _answer(run: Run, steps: list[Step]) -> Message:
    """Return the answer of a run, which is never empty: servers reject that."""
    if not run.result.strip():
        return Message("assistant", f"[No answer: {run.status}.]")
    own = next((step for step in reversed(steps) if step.kind == Step.Kind.FINAL_ANSWER), None)
    return replay_answer(run.result, own.provider_data if own else {})

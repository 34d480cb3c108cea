"""Turn stored rows back into messages of the conversation."""

from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from agents_app.engine.spec import (
    Conversation,
    Decision,
    FilePart,
    Message,
    OpenTool,
    ToolCall,
    replay_call,
    replay_turn,
    result_parts,
)
from agents_app.engine.steering import add_message
from agents_app.files.parts import to_engine
from agents_app.models import Run, SteeredMessage, Step


def replay(
    rebuilt: Conversation,
    steps: Sequence[Step],
    decisions: Mapping[int, Decision] = MappingProxyType({}),
    steered: Sequence[SteeredMessage] = (),
) -> None:
    """Add the tool rounds of a run, and the messages that it took between them.

    A round counts only if all of its calls were written.
    """
    waiting = deque(steered)
    uses = {(s.iteration, s.tool_call_id): s for s in steps if s.kind == Step.Kind.TOOL_USE}
    for step in steps:
        if step.kind == Step.Kind.TOOL_USE and "text" in step.provider_data:
            while waiting and waiting[0].iteration <= step.iteration:
                add_message(rebuilt.turns, steered_message(waiting.popleft()))
            rebuilt.turns.append(_assistant_turn(step, uses))
            rebuilt.iteration = step.iteration
        elif step.kind == Step.Kind.TOOL_RESULT and step.status == Step.Status.FINISHED:
            parts = result_parts(step.content, _files(step))
            result = Message(
                "tool",
                step.content,
                tool_call_id=step.tool_call_id,
                is_error=step.is_error,
                parts=parts,
                step=step.index,
            )
            rebuilt.turns.append(result)
        elif step.kind == Step.Kind.TOOL_RESULT:
            use = uses[step.iteration, step.tool_call_id]
            call = ToolCall(use.tool_call_id, use.tool_name, use.content)
            started, decision = step.status == Step.Status.STARTED, decisions.get(step.index)
            cut = use.provider_data.get("cut", "")
            rebuilt.open_tools.append(OpenTool(step.index, call, step.iteration, started, decision, cut))
    for row in waiting:
        add_message(rebuilt.turns, steered_message(row))


def steered_message(row: SteeredMessage) -> Message:
    """Return a message that the run took while it worked."""
    return Message("user", row.message, parts=to_engine(row.parts))


def _files(step: Step) -> list[FilePart]:
    return [
        FilePart(each["file_id"], each["media_type"], each["name"], each["size"])
        for each in step.attachments or ()
        if each.get("file_id")
    ]


def _assistant_turn(first: Step, uses: dict[tuple[int, str], Step]) -> Message:
    calls = [_tool_call(use) for use in uses.values() if use.iteration == first.iteration]
    return replay_turn(first.provider_data, calls)


def _tool_call(use: Step) -> ToolCall:
    return replay_call(use.tool_call_id, use.tool_name, use.arguments, use.content, use.provider_data)


def last_round(messages: Sequence[Message]) -> list[Message]:
    """Return the results of tools at the end, and the turn that called the tools: no window may lack them."""
    at = len(messages)
    while at and messages[at - 1].role == "tool":
        at -= 1
    return list(messages[max(at - 1, 0) :])


def earlier_messages(run: Run) -> list[Message]:
    """Return the conversation before the prompt as its caller sent it."""
    return [
        Message(
            message["role"],
            message["content"],
            tool_calls=tuple(
                replay_call(c["id"], c["name"], {}, c["arguments"]) for c in message.get("tool_calls", ())
            ),
            tool_call_id=message.get("tool_call_id", ""),
            parts=to_engine(message.get("parts")),
        )
        for message in run.overrides.messages
    ]

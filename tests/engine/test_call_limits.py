"""One turn of a model makes so many calls and no more, and some at a time."""

import asyncio

from agents_app.engine.events import StepDone
from agents_app.engine.loop import Turns
from agents_app.engine.providers.base import EndPart, TextPart, ToolCallPart
from agents_app.engine.spec import AgentSpec, Conversation, ModelSpec
from agents_app.engine.tool_calls import MOST_CALLS_AT_A_TIME, MOST_CALLS_PER_TURN, TOO_MANY_CALLS
from agents_app.engine.toolset import Tool, Toolset
from tests.harness.one_model import only


class Greedy:
    """A model that calls a tool 40 times in its first turn, and answers in its second."""

    def __init__(self) -> None:
        self.turns = 0

    async def stream(self, request):
        self.turns += 1
        if self.turns == 1:
            for position in range(40):
                yield [ToolCallPart(position, f"call-{position}", "touch", "{}")]
            yield [EndPart("tool_calls")]
        else:
            yield [TextPart("Done.")]
            yield [EndPart("stop")]


def test_the_calls_of_one_turn_are_bounded_in_number_and_at_a_time():
    busy = most = made = 0

    async def touch(arguments, call):
        nonlocal busy, most, made
        busy, made = busy + 1, made + 1
        most = max(most, busy)
        for _ in range(20):  # let all others begin that may
            await asyncio.sleep(0)
        busy -= 1
        return "touched"

    async def results():
        tool = Tool("touch", "Touches.", {"type": "object"}, touch)
        model = ModelSpec(kind="openai", base_url="", api_key="", headers=(), model="m", context_tokens=8192)
        spec = AgentSpec(name="a", system_prompt="", model=model)
        turns = Turns(spec, Conversation([], "go"), only(spec, Greedy()), Toolset([tool]))
        return [event async for event in turns.events() if isinstance(event, StepDone) and event.type == "tool_result"]

    steps = asyncio.run(results())
    assert (made, most) == (MOST_CALLS_PER_TURN, MOST_CALLS_AT_A_TIME) == (32, 6)
    assert [step.content for step in steps if step.is_error] == [TOO_MANY_CALLS.format(32, "calls are")] * 8
    assert len(steps) == 40

"""A model that never stops writing: its run ends at a size, and nothing of it is kept beyond that."""

import asyncio
import dataclasses
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from agents_app.engine.loop import Turns
from agents_app.engine.providers.anthropic_stream import MessageEvents
from agents_app.engine.providers.base import ModelRequest, Part, ReasoningPart, TextPart, ToolCallPart
from agents_app.engine.providers.thinking_tags import ThinkingTags
from agents_app.engine.spec import AgentSpec, Conversation, Limits, ModelSpec, Parameters
from agents_app.engine.toolset import Toolset
from agents_app.exceptions import LimitReached, ModelUnavailable
from tests.harness.one_model import only

PIECE = "x" * 65_536
SPEC = AgentSpec("a", "", ModelSpec("openai", "http://a", "", (), "m", 8192), Parameters(max_tokens=100))


class Endless:
    """A model whose parts never end, or that fails after so many of them."""

    def __init__(self, part: Callable[[int], Part], *, fails_after: int | None = None) -> None:
        self.part = part
        self.fails_after = fails_after
        self.characters = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[list[Part]]:
        number = 0
        while number != self.fails_after:
            yield [self.part(number)]
            number += 1
            self.characters += len(PIECE)
        raise ModelUnavailable("cut", retry_after=0)


def run(model: Endless, spec: AgentSpec = SPEC) -> LimitReached:
    async def follow() -> None:
        async for _ in Turns(spec, Conversation([], "hi"), only(spec, model), Toolset([])).events():
            pass

    with pytest.raises(LimitReached) as caught:
        asyncio.run(follow())
    return caught.value


@pytest.mark.parametrize(
    "part",
    [
        lambda number: TextPart(PIECE),
        lambda number: ReasoningPart(PIECE),
        lambda number: TextPart(PIECE) if number % 2 else ReasoningPart(PIECE),
        lambda number: ToolCallPart(0, "id", "f", PIECE),
        lambda number: ToolCallPart(number, f"c{number}", "f", PIECE),
    ],
)
def test_a_turn_ends_at_its_size(part):
    model = Endless(part)
    tracemalloc.start()
    error = run(model)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (str(error), error.code) == ("The model wrote more than 1,048,576 characters in one turn.", "max_characters")
    assert model.characters < 2 * 1024 * 1024
    assert peak < 16 * 1024 * 1024


def test_calls_without_any_text_have_a_size_too():
    assert run(Endless(lambda number: ToolCallPart(number, f"c{number}", "f", ""))).code == "max_characters"


def test_turns_that_are_repeated_count_for_the_run(monkeypatch):
    monkeypatch.setattr("agents_app.engine.model_turns._delay", lambda attempt, error: 0)
    limits = dataclasses.replace(SPEC.limits, max_run_characters=1_500_000)
    model = Endless(lambda number: TextPart(PIECE), fails_after=12)

    error = run(model, dataclasses.replace(SPEC, limits=limits))

    assert str(error) == "The model wrote more than 1,500,000 characters in this run."
    assert model.characters < 2_000_000


def test_more_tokens_make_more_room_up_to_a_bound():
    sizes = [Limits().turn_characters(tokens) for tokens in (None, 100, 100_000, 10**9)]

    assert sizes == [1024**2, 1024**2, 2_400_000, 16 * 1024**2]


def test_white_space_before_an_answer_is_not_held_for_ever():
    tags = ThinkingTags()

    assert sum(len(part.text) for _ in range(100) for part in tags.feed(" " * 1000)) > 90_000


def anthropic_blocks() -> Iterator[dict]:
    for index in range(1_000_000):
        yield {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}


def anthropic_signature() -> Iterator[dict]:
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
    for _ in range(1000):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": PIECE}}


@pytest.mark.parametrize("events", [anthropic_blocks, anthropic_signature])
def test_what_no_step_shows_has_a_size_too(events):
    reader = MessageEvents("origin")

    with pytest.raises(LimitReached, match="more blocks and signatures"):
        for event in events():
            reader.feed(f"data: {json.dumps(event)}\n".encode())

"""Anthropic's stream, from bytes to parts: however it is cut, and as other servers write it."""

import itertools
import json

import pytest

from agents_app.engine.providers.anthropic_stream import MessageEvents
from agents_app.engine.providers.base import BlocksPart, EndPart, ReasoningPart, TextPart, ToolCallPart, UsagePart
from agents_app.exceptions import ModelUnavailable


def stream(*events: dict, ending: str = "\n") -> bytes:
    lines = (f"event: {e['type']}{ending}data: {json.dumps(e, ensure_ascii=False)}{ending}{ending}" for e in events)
    return "".join(lines).encode()


def block(index: int, begin: dict, *deltas: dict) -> list[dict]:
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    begun = {"type": "content_block_start", "index": index, "content_block": begin}
    return [begun, *pieces, {"type": "content_block_stop", "index": index}]


START = {"type": "message_start", "message": {"usage": {"input_tokens": 7, "cache_read_input_tokens": None}}}
END = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
]
THOUGHT = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "Ümläute"},
    {"type": "thinking_delta", "thinking": " denken 🙂"},
    {"type": "signature_delta", "signature": "c2ln"},
)
TEXT = block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Ja"}, {"type": "text_delta", "text": "!"})
CALL = {"type": "tool_use", "id": "toolu_1", "name": "count", "input": {}}
KEPT = [
    {"type": "thinking", "thinking": "Ümläute denken 🙂", "signature": "c2ln"},
    {"type": "text", "text": "Ja!"},
]
PARTS = [
    ReasoningPart("Ümläute"),
    ReasoningPart(" denken 🙂"),
    TextPart("Ja"),
    TextPart("!"),
    UsagePart(7, 3, 0),
    BlocksPart("me", KEPT),
    EndPart("stop"),
]


def parts_of(data: bytes, size: int = 0) -> list:
    events = MessageEvents("me")
    pieces = [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
    return [*itertools.chain.from_iterable(events.feed(piece) for piece in pieces), *events.end()]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 61])
def test_a_stream_may_be_cut_anywhere(size, ending):
    assert parts_of(stream(START, {"type": "ping"}, *THOUGHT, *TEXT, *END, ending=ending), size) == PARTS


def test_an_answer_without_thoughts_has_nothing_to_keep():
    assert not [part for part in parts_of(stream(START, *TEXT, *END)) if isinstance(part, BlocksPart)]


def test_a_call_keeps_its_place_among_the_blocks():
    call = block(1, CALL, {"type": "input_json_delta", "partial_json": '{"n":1}'})
    parts = parts_of(stream(START, *THOUGHT, *call, *END))
    assert [part for part in parts if isinstance(part, ToolCallPart)] == [
        ToolCallPart(0, "toolu_1", "count", ""),
        ToolCallPart(0, "", "", '{"n":1}'),
    ]
    (kept,) = [part.blocks for part in parts if isinstance(part, BlocksPart)]
    assert kept == [KEPT[0], {"type": "tool_use"}]


def test_arguments_that_are_not_streamed_are_taken_from_the_beginning():
    parts = parts_of(stream(START, *block(0, CALL | {"input": {"n": 1}}), *END))
    assert parts[:2] == [ToolCallPart(0, "toolu_1", "count", ""), ToolCallPart(0, "", "", '{"n":1}')]


def test_what_a_block_begins_with_is_part_of_it():
    begun = block(0, {"type": "text", "text": "Ja"}, {"type": "text_delta", "text": "!"})
    assert parts_of(stream(START, *begun, *END))[:2] == [TextPart("Ja"), TextPart("!")]


def test_a_thought_without_a_signature_is_kept_without_one():
    thought = block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"})
    (kept,) = [part.blocks for part in parts_of(stream(START, *thought, *END)) if isinstance(part, BlocksPart)]
    assert kept == [{"type": "thinking", "thinking": "hm"}]


def test_blocks_and_events_that_we_do_not_know_do_no_harm():
    odd = block(0, {"type": "hologram", "data": "x"}, {"type": "hologram_delta", "more": 1})
    parts = parts_of(stream(START, {"type": "weather", "is": "fine"}, *odd, *TEXT, *END))
    assert TextPart("Ja") in parts
    assert EndPart("stop") in parts


@pytest.mark.parametrize(
    "event",
    [
        {"type": "content_block_delta", "index": 5, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": [7], "name": "x"}},
        {"type": "content_block_start", "index": 0, "content_block": None},
        {"type": "message_delta", "delta": None},
        ["no event"],
    ],
)
def test_a_broken_event_is_worth_another_try(event):
    with pytest.raises(ModelUnavailable, match="invalid chunk"):
        parts_of(b"data: " + json.dumps(event).encode() + b"\n\n")


def test_nul_characters_are_left_out():
    nul = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a\x00b"})
    assert parts_of(stream(START, *nul, *END))[0] == TextPart("ab")

"""The pieces of calls, as servers number and identify them, and the calls that they are."""

import json

import pytest

from agents_app.engine.providers.openai_stream import ChatChunks
from agents_app.engine.turn import TurnReader


def calls_of(pieces: list[dict]) -> list[tuple[str, str, str]]:
    """Return id, name and arguments of the calls; the id is empty if we made it."""
    chunks, reader = ChatChunks(), TurnReader(1, 0)
    events = [{"choices": [{"delta": {"tool_calls": [piece]}}]} for piece in pieces]
    events.append({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    for event in events:
        for part in chunks.feed(f"data: {json.dumps(event)}\n\n".encode()):
            list(reader.feed(part))
    list(reader.finish())
    assert len({call.tool_call_id for call in reader.calls}) == len(reader.calls)
    made = [call.tool_call_id if not call.tool_call_id.startswith("call_") else "" for call in reader.calls]
    return [(own, call.tool_name, call.content) for own, call in zip(made, reader.calls, strict=True)]


def piece(arguments: str | None = None, name: str | None = None, **more: object) -> dict:
    function = {"name": name, "arguments": arguments}
    return more | {"function": {key: value for key, value in function.items() if value is not None}}


ONE = [("a1", "f", '{"x":1}')]
CASES = {
    "a fresh id in every piece": (
        [piece("", "f", index=0, id="a1"), piece('{"x"', index=0, id="a2"), piece(":1}", index=0, id="a3")],
        ONE,
    ),
    "a fresh id and the name in every piece": (
        [piece('{"x"', "f", index=0, id="a1"), piece(":1", "f", index=0, id="a2"), piece("}", "f", index=0, id="a3")],
        ONE,
    ),
    "a fresh id in every piece, and no index": (
        [piece("", "f", id="a1"), piece('{"x"', id="a2"), piece(":1}", id="a3")],
        ONE,
    ),
    "an id that comes late": ([piece("", "f", index=0), piece('{"x":1}', index=0, id="a1")], ONE),
    "a name that comes late": ([piece("", index=0, id="a1"), piece('{"x":1}', "f", index=0)], ONE),
    "a numeric id": ([piece('{"x":1}', "f", index=0, id=7)], [("7", "f", '{"x":1}')]),
    "an id that is no id": ([piece('{"x":1}', "f", index=0, id=["a"])], [("", "f", '{"x":1}')]),
    "an index as text": (
        [piece('{"x":', "f", index="0", id="a1"), piece("{}", "g", index="1", id="b"), piece("1}", index="0")],
        [*ONE, ("b", "g", "{}")],
    ),
    "empty and null later": (
        [
            piece("", "f", index=0, id="a1"),
            piece('{"x":1}', "", index=0, id=""),
            {"index": 0, "id": None, "function": {"name": None, "arguments": None}},
            {"index": 0, "id": "", "function": None},
        ],
        ONE,
    ),
    "two calls at 0, the second with a name and no id": (
        [piece('{"x":1}', "f", index=0, id="a1"), piece('{"y":2}', "g", index=0)],
        [*ONE, ("", "g", '{"y":2}')],
    ),
    "two calls at 0 of one tool, the second without an id": (
        [piece('{"x":1}', "f", index=0, id="a1"), piece('{"x":2}', "f", index=0)],
        [*ONE, ("", "f", '{"x":2}')],
    ),
    "two calls at 0, in pieces": (
        [
            piece("", "f", index=0, id="a1"),
            piece('{"x"', index=0),
            piece(":1}", index=0),
            piece("", "g", index=0),
            piece("{}", index=0),
        ],
        [*ONE, ("", "g", "{}")],
    ),
    "one id for two calls": (
        [piece('{"x":1}', "f", index=0, id="a1"), piece("{}", "g", index=1, id="a1")],
        [*ONE, ("", "g", "{}")],
    ),
    "the name in every piece": (
        [piece('{"x"', "f", index=0, id="a1"), piece(":1", "f", index=0), piece("}", "f", index=0)],
        ONE,
    ),
    "the name in pieces": ([piece("", "get_", index=0, id="a1"), piece("", "it", index=0), piece("{}", index=0)],
                           [("a1", "get_it", "{}")]),
    "the whole call again at the end": (
        [piece('{"x"', "f", index=0, id="a1"), piece(":1}", index=0), piece('{"x":1}', "f", index=0, id="a1")],
        ONE,
    ),
    "numbers that begin at 1": (
        [piece('{"x":', "f", index=1, id="a1"), piece("{}", "g", index=2, id="b"), piece("1}", index=1)],
        [*ONE, ("b", "g", "{}")],
    ),
    "half a character in the arguments": (
        [piece('{"x":"\ud83d', "f", index=0, id="a1"), piece('\ude00"}', index=0)],
        [("a1", "f", '{"x":"😀"}')],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_pieces_make_the_calls_that_the_model_meant(case):
    pieces, calls = CASES[case]
    assert calls_of(pieces) == calls


def test_the_arguments_of_a_call_are_not_read_again_and_again():
    """Every piece that may begin a call of its own makes us read the arguments so far."""
    pieces = [piece('{"x":"', "f", index=0), *[piece("{}", "f", index=0)] * 20_000]
    assert len(calls_of(pieces)) == 1

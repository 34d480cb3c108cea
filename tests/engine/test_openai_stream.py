"""From the bytes of a model's stream to parts: the same, however the network cuts them."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents_app.engine.events import StepDone
from agents_app.engine.providers.base import EndPart, Part, ReasoningPart, TextPart, ToolCallPart, UsagePart
from agents_app.engine.providers.openai_stream import ChatChunks
from agents_app.engine.providers.thinking_tags import ThinkingTags
from agents_app.engine.turn import TurnReader
from agents_app.exceptions import ModelError, ModelUnavailable


def chunk(finish: str | None = None, **delta: object) -> dict:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def stream(*chunks: dict, end: str = "\n\n") -> bytes:
    return b"".join(f"data: {json.dumps(each)}{end}".encode() for each in chunks)


def cut(data, places: list[int]):
    """The pieces of `data`, cut at these places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


def decoded(pieces: list[bytes]) -> list[Part]:
    chunks = ChatChunks()
    return [part for piece in pieces for part in chunks.feed(piece)] + chunks.end()


def joined(parts: list[Part]) -> list[tuple[str, str]]:
    """Kind and text of the parts, neighbours of one kind together."""
    return [
        (kind.__name__, "".join(getattr(part, "text", "") for part in group))
        for kind, group in itertools.groupby(parts, key=type)
    ]


deltas = st.one_of(
    st.builds(lambda text: {"content": text}, st.text(max_size=12)),
    st.builds(lambda text: {"content": text}, st.sampled_from(["<think>", "</think>", "<", "\n\n", "thi", "nk>"])),
    st.builds(lambda text: {"reasoning_content": text}, st.text(max_size=12)),
    st.builds(
        lambda index, text: {"tool_calls": [{"index": index, "function": {"name": "f", "arguments": text}}]},
        st.integers(0, 2),
        st.text(max_size=8),
    ),
)
cuts = st.lists(st.integers(0, 10_000), max_size=20)


@given(st.lists(deltas, max_size=12), cuts, st.sampled_from(["\n\n", "\r\n\r\n", "\n: ping\n\n"]))
def test_a_stream_says_the_same_however_its_bytes_are_cut(output, places, end):
    body = stream(*[chunk(**delta) for delta in output], chunk("stop"), end=end) + b"data: [DONE]\n\n"
    assert decoded(cut(body, places)) == decoded([body])


@given(st.text(alphabet="<think>/ \nab", max_size=40), cuts)
def test_an_answer_has_the_same_thoughts_however_it_is_cut(text, places):
    def parts(pieces: list[str]) -> list[tuple[str, str]]:
        tags = ThinkingTags()
        return joined([part for piece in pieces for part in tags.feed(piece)] + tags.end())

    assert parts(cut(text, places)) == parts([text])


@given(st.text(alphabet="<think>/ \nabc", max_size=30), st.text(max_size=30), cuts)
def test_thoughts_in_tags_are_told_apart_from_the_answer(thought, answer, places):
    thought, answer = thought.replace("</think>", "").strip("\n"), answer.strip("\n")
    if "</think>" in thought:
        return
    tags = ThinkingTags()
    parts = [part for piece in cut(f"<think>\n{thought}</think>\n\n{answer}", places) for part in tags.feed(piece)]
    expected = [("ReasoningPart", thought), ("TextPart", answer)]
    assert joined(parts + tags.end()) == [part for part in expected if part[1]]


@given(st.text(max_size=40))
def test_an_answer_without_tags_is_left_as_it_is(text):
    tags = ThinkingTags()
    assert "".join(part.text for part in tags.feed("a" + text) + tags.end()) == "a" + text


def test_a_tag_that_never_closes_is_a_thought():
    tags = ThinkingTags()
    assert joined(tags.feed("<think>on and on </thi") + tags.end()) == [("ReasoningPart", "on and on </thi")]


def test_what_looked_like_a_tag_comes_before_the_tool_call_that_follows():
    parts = decoded(
        [stream(chunk(content="<thi"), chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f"}}]))]
    )
    assert [type(part) for part in parts] == [TextPart, ToolCallPart]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_come_under_either_name(field):
    assert decoded([stream(chunk(**{field: "hm"}))]) == [ReasoningPart("hm")]


def test_content_in_parts_is_read_as_text():
    assert decoded([stream(chunk(content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]))]) == [
        TextPart("ab")
    ]


def test_nul_characters_are_dropped_because_databases_refuse_them():
    assert decoded([stream(chunk(content="a\x00b"))]) == [TextPart("ab")]


def test_usage_comes_with_or_without_choices():
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 1}}
    assert decoded([stream({"choices": [], "usage": usage})]) == [UsagePart(3, 4, 1)]
    assert decoded([stream(chunk("stop") | {"usage": usage})]) == [EndPart("stop"), UsagePart(3, 4, 1)]


def test_a_server_that_does_not_stream_is_understood_all_the_same():
    answer = {"choices": [{"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}]}
    assert decoded([json.dumps(answer).encode()]) == [TextPart("whole"), EndPart("stop")]


def test_a_last_line_without_an_end_counts():
    assert decoded([stream(chunk(content="a"), chunk("stop")).rstrip()]) == [TextPart("a"), EndPart("stop")]


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {not json\n\n",
        b"data: \xff\xfe\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"<html>\n",
        b"x" * (5 * 2**20),
    ],
    ids=lambda bad: repr(bad[:70]),
)
def test_nonsense_is_an_error_worth_a_retry_and_nothing_else(bad):
    with pytest.raises(ModelUnavailable) as caught:
        decoded([bad])
    assert caught.value.code == "model_bad_stream"


@pytest.mark.parametrize(
    "odd",
    [
        "[]",
        "7",
        "null",
        '{"choices": 7}',
        '{"choices": {"a": 1}}',
        '{"choices": [7]}',
        '{"choices": [{"delta": "text"}]}',
        '{"choices": [{"delta": {"content": 7}}]}',
        '{"choices": [{"delta": {"content": {"a": 1}}}]}',
        '{"choices": [{"delta": {"content": [null, 7, {"type": "hologram"}, {"text": 7}]}}]}',
        '{"choices": [{"delta": {"reasoning": 7}}]}',
        '{"choices": [{"delta": {"tool_calls": 7}}]}',
        '{"choices": [{"delta": {"tool_calls": ["f", null]}}]}',
        '{"choices": [{"delta": {}, "finish_reason": ["stop"]}]}',
        '{"choices": [], "usage": "many"}',
    ],
)
def test_a_piece_of_an_unexpected_type_costs_only_that_piece(odd):
    body = (
        stream(chunk(content="before ")) + f"data: {odd}\n\n".encode() + stream(chunk(content="after"), chunk("stop"))
    )
    assert decoded([body]) == [TextPart("before "), TextPart("after"), EndPart("stop")]


def test_text_among_odd_parts_of_a_content_is_read():
    odd = [{"type": "text", "text": "a"}, "b", None, {"type": "hologram", "data": 1}, {"type": "text", "text": "c"}]
    assert decoded([stream(chunk(content=odd))]) == [TextPart("abc")]


def test_thoughts_in_parts_of_parts_are_thoughts():
    """As Mistral sends them."""
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "ha"}]
    assert decoded([stream(chunk(content=content))]) == [ReasoningPart("hm"), TextPart("ha")]


@pytest.mark.parametrize(("usage", "count"), [({"prompt_tokens": "many"}, 0), ({"prompt_tokens": [1]}, 0)])
def test_counts_that_are_no_numbers_are_none(usage, count):
    assert decoded([stream({"choices": [], "usage": usage})]) == [UsagePart(count, 0, 0)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "overloaded", "code": 502}, ModelUnavailable),
        ({"message": "slow down", "code": "429"}, ModelUnavailable),
        ("something broke", ModelUnavailable),
        (["odd"], ModelUnavailable),
        ({"message": ["odd"], "type": 7}, ModelUnavailable),
        ({"message": "no such field", "type": "invalid_request_error"}, ModelError),
        ({"message": "bad", "code": 400}, ModelError),
    ],
)
def test_an_error_in_the_stream_says_whether_to_try_again(error, kind):
    with pytest.raises(ModelError) as caught:
        decoded([stream({"error": error})])
    assert type(caught.value) is kind


def test_an_error_beside_a_choice_is_not_taken_for_an_answer():
    """As OpenRouter sends it."""
    with pytest.raises(ModelUnavailable):
        decoded([stream(chunk("error", content="") | {"error": {"code": 502, "message": "gone"}})])
    with pytest.raises(ModelUnavailable):
        decoded([stream(chunk("error", content=""))])


def calls_of(*pieces: dict) -> list[StepDone]:
    """The calls that these pieces add up to."""
    reader = TurnReader(1, 0)
    for part in decoded([stream(*[chunk(tool_calls=[piece]) for piece in pieces], chunk("tool_calls"))]):
        list(reader.feed(part))
    list(reader.finish())
    return reader.calls


def names_and_arguments(calls: list[StepDone]) -> list[tuple[str, str]]:
    return [(call.tool_name, call.content) for call in calls]


def test_fragments_of_two_calls_may_be_mixed():
    calls = calls_of(
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}},
        {"index": 0, "function": {"arguments": ": 1}"}},
        {"index": 1, "function": {"arguments": "}"}},
    )
    assert names_and_arguments(calls) == [("f", '{"x": 1}'), ("g", "{}")]
    assert [call.tool_call_id for call in calls] == ["a", "b"]


def test_calls_without_an_index_are_told_apart_by_id_or_name():
    calls = calls_of(
        {"id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "function": {"name": "g", "arguments": '{"x":'}},
        {"function": {"arguments": "1}"}},
        {"function": {"name": "h", "arguments": "{}"}},
        {"function": {"name": "i", "arguments": "{"}},
        {"function": {"arguments": "}"}},
    )
    assert names_and_arguments(calls) == [("f", "{}"), ("g", '{"x":1}'), ("h", "{}"), ("i", "{}")]


def test_a_server_may_repeat_id_and_name_with_every_piece():
    calls = calls_of(
        {"id": "a", "function": {"name": "f", "arguments": '{"x":'}},
        {"id": "a", "function": {"name": "f", "arguments": "1}"}},
    )
    assert names_and_arguments(calls) == [("f", '{"x":1}')]


@pytest.mark.parametrize("index", [-1, 7])
def test_an_index_that_cannot_be_counts_as_none(index):
    calls = calls_of(
        {"index": index, "id": "a", "function": {"name": "f", "arguments": '{"x":'}},
        {"index": index, "function": {"arguments": "1}"}},
    )
    assert names_and_arguments(calls) == [("f", '{"x":1}')]


def test_calls_that_are_all_numbered_0_are_told_apart_by_id():
    calls = calls_of(
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"index": 0, "id": "b", "function": {"name": "g", "arguments": "{}"}},
    )
    assert names_and_arguments(calls) == [("f", "{}"), ("g", "{}")]


def test_every_call_gets_an_id_of_its_own():
    calls = calls_of(
        {"index": 0, "function": {"name": "f", "arguments": "{}"}},
        {"index": 1, "function": {"name": "f", "arguments": "{}"}},
        {"index": 2, "id": "x" * 500, "function": {"name": "f", "arguments": "{}"}},
    )
    ids = [call.tool_call_id for call in calls]
    assert len(set(ids)) == 3
    assert all(0 < len(each) <= 128 for each in ids)


def test_arguments_may_come_as_an_object():
    calls = calls_of({"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}})
    assert calls[0].arguments == {"x": 1}

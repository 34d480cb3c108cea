"""Thoughts in tags of any spelling, with only the closing tag too, and never in code."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents_app.engine.providers.openai_stream import ChatChunks
from agents_app.engine.turn import TurnReader

TAGS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
]


def story(pieces: list[str]) -> list[tuple[str, str]]:
    """Return the type and content of the steps of an answer in these pieces."""
    chunks, reader = ChatChunks(), TurnReader(1, 0)
    events = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    steps = []
    for event in events:
        for part in chunks.feed(f"data: {json.dumps(event)}\n\n".encode()):
            steps += [step for step in reader.feed(part) if hasattr(step, "started")]
    steps += reader.finish()
    return [(step.type, step.content) for step in steps]


THOUGHTS = {
    "both tags": ("{open}\nI should add.\n{close}\n\n42", "I should add.\n"),
    "blank lines before": ("\n {open}I should add.{close}42", "I should add."),
    "only the closing tag": ("I should add.\n{close}\n\n42", "I should add.\n"),
    "only the closing tag, after a sentence": ("I should add.{close}42", "I should add."),
    "only the closing tag, at the end of a line": ("I should add {close}\n42", "I should add "),
    "after code": ("```\nx\n```\nI use `x`.\n{close}\n42", "```\nx\n```\nI use `x`.\n"),
}


@pytest.mark.parametrize("case", THOUGHTS)
@pytest.mark.parametrize(("opening", "close"), TAGS)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_thoughts_and_answer_are_two_steps(case, opening, close, size):
    template, thought = THOUGHTS[case]
    text = template.format(open=opening, close=close)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert story(pieces) == [("thought", thought), ("final_answer", "42")]


@pytest.mark.parametrize(
    "answer",
    [
        "Write `</think>` after it.",
        "Write:\n```html\n<think>\nhm\n</think>\n```\nDone.",
        "Write:\n~~~\n</think>\n~~~",
        "```\n</think>\n",
        "The tag </think> ends it.",
        "a < b </thin",
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_tag_in_code_or_in_a_sentence_is_text(answer, size):
    assert story([answer[at : at + size] for at in range(0, len(answer), size)]) == [("final_answer", answer)]


def test_a_thought_about_the_tag_goes_on():
    text = "<think>It ends at `</think>`, I say.</think>42"
    assert story(list(text)) == [("thought", "It ends at `</think>`, I say."), ("final_answer", "42")]


@given(
    st.lists(st.sampled_from(["</think>", "<think>", "`", "```", "\n", " ", ".", "a", "◁/think▷"]), max_size=14),
    st.lists(st.integers(0, 200), max_size=12),
)
def test_an_answer_has_the_same_steps_however_it_is_cut(tokens, places):
    text = "a" + "".join(tokens)
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    assert story([text[a:b] for a, b in itertools.pairwise(edges)]) == story([text])

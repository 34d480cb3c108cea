"""Streams in the shapes of known servers have the same steps, however their bytes are cut."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents_app.engine.events import StepDone
from agents_app.engine.providers.openai_stream import ChatChunks
from agents_app.engine.turn import TurnReader
from agents_app.exceptions import ModelError
from tests.harness.fakes.recorded_streams import STREAMS, Step


def steps_of(pieces: list[bytes]) -> list[Step]:
    """Return the steps of a stream, and the reason of the error that ends it."""
    chunks, reader = ChatChunks(), TurnReader(1, 0)
    steps: list[StepDone] = []
    try:
        for piece in pieces:
            for part in chunks.feed(piece):
                steps += [event for event in reader.feed(part) if type(event) is StepDone]
            if chunks.error:
                raise chunks.error
            if chunks.done:
                break
        for part in [] if chunks.done else chunks.end():
            steps += [event for event in reader.feed(part) if type(event) is StepDone]
    except ModelError as error:
        return [("error", str(error).removeprefix("The model's server ended the stream with an error: "))]
    steps += [*reader.finish(), *reader.calls]
    return [(step.type, f"{step.tool_name} {step.content}" if step.tool_name else step.content) for step in steps]


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_has_its_steps(name):
    data, steps = STREAMS[name]
    assert steps_of([data]) == steps
    assert steps_of([data[at : at + 1] for at in range(len(data))]) == steps


@settings(max_examples=400)
@given(st.sampled_from(list(STREAMS)), st.lists(st.integers(0, 100_000), max_size=12))
def test_a_stream_has_the_same_steps_however_its_bytes_are_cut(name, places):
    data, steps = STREAMS[name]
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    assert steps_of([data[start:stop] for start, stop in itertools.pairwise(edges)]) == steps

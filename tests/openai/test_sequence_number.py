"""The number of an event of a response stream."""

from hypothesis import given
from hypothesis import strategies as st

from chat_app.openai_api.sequence_number import DONE, LONGEST, SequenceNumber
from chat_app.openai_api.text_stream import ANSWER, THOUGHT

FRAMES = st.integers(0, 2**45)
NUMBERS = st.builds(SequenceNumber, FRAMES, st.integers(0, DONE + 7))


@given(NUMBERS)
def test_a_number_is_unpacked_into_what_was_packed(number):
    assert SequenceNumber.unpack(number.pack()) == number


@given(NUMBERS, NUMBERS)
def test_packed_numbers_are_ordered_as_their_events_are(one, other):
    assert (one.pack() < other.pack()) == (one < other)


@given(FRAMES, st.sampled_from([ANSWER, THOUGHT]), st.integers(0, LONGEST))
def test_the_number_of_a_delta_says_how_much_of_which_text_the_client_has(frame, kind, characters):
    number = SequenceNumber.unpack(SequenceNumber.of_delta(frame, kind, characters).pack())

    assert (number.frame, number.kind, number.characters) == (frame, kind, characters)
    assert number < SequenceNumber(frame, DONE)


def test_the_beginning_of_a_frame_is_inside_no_text():
    assert (SequenceNumber(3, 1).kind, SequenceNumber(3, 1).characters) == (None, 0)

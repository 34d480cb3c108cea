"""The `sequence_number` of an event of a response stream."""

from dataclasses import dataclass
from typing import Self

from chat_app.openai_api.text_stream import ANSWER, THOUGHT

_PLACE_BITS = 17
_FIRST_DELTA = 4
DONE = (1 << _PLACE_BITS) - 8
LONGEST = (1 << (_PLACE_BITS - 1)) - 16  # characters of a step that a place can count


@dataclass(frozen=True, slots=True, order=True)
class SequenceNumber:
    """The number of an event, derived from the log: each reader gets the same one, live or later.

    ```
    bit  62                      17 16                       0
        ┌──────────────────────────┬──────────────────────────┐
        │ frame                    │ place                    │
        └──────────────────────────┴──────────────────────────┘
    ```

    `frame`: the `seq` of the frame that the event comes from, minus the `seq` of the run's first frame.
    `place`: which event of that frame.

    | place             | event                                                                                       |
    |-------------------|---------------------------------------------------------------------------------------------|
    | 0, 1              | begins something: response, output item, content part; or ends a tool call                  |
    | 4 to 131,045      | a delta: 4 + 2 × the characters of its step so far (+ 1 if they are reasoning)              |
    | 131,064 to 131,071 | `DONE` and up: ends a text, reports a tool call, ends the response                         |

    So the number of a delta says how much of which text the client has, and a client that resumes there gets exactly
    the rest, even if the finished step has replaced its deltas in the log.
    """

    frame: int
    place: int

    @classmethod
    def of_delta(cls, frame: int, kind: str, characters: int) -> Self:
        """Return the number of the delta after which the client has so many characters of the step."""
        return cls(frame, _FIRST_DELTA + 2 * min(characters, LONGEST) + (kind == THOUGHT))

    @classmethod
    def unpack(cls, number: int) -> Self:
        return cls(number >> _PLACE_BITS, number & ((1 << _PLACE_BITS) - 1))

    def pack(self) -> int:
        return self.frame << _PLACE_BITS | self.place

    @property
    def kind(self) -> str | None:
        """The kind of text that the client was reading; None if it was at the beginning of a frame."""
        if self.place < _FIRST_DELTA:
            return None
        return THOUGHT if self.place & 1 else ANSWER

    @property
    def characters(self) -> int:
        """How many characters of the step the client has."""
        return max(0, self.place - _FIRST_DELTA) >> 1

"""What a run says as text that only ever grows: a chunk that was sent cannot be unsent."""

from collections.abc import Iterator
from typing import Any

THOUGHT, ANSWER = "thought", "final_answer"
_BETWEEN = "\n\n"


class Channel:
    """One stream of text, in which steps follow each other.

    A step that begins again after a `retry` goes on where its text was cut, if it says the same again; else the whole
    of it follows after a blank line.
    """

    def __init__(self) -> None:
        self.step: int | None = None
        self.length = 0
        self._pieces: list[str] = []
        self._discarded = ""
        self._has_spoken = False

    @property
    def text(self) -> str:
        """What is known of the step; `length` is its length."""
        return "".join(self._pieces)

    def say(self, step: int, offset: int, content: str) -> str:
        """What is new of this piece of a step, at `offset` of it; mostly all of it."""
        if step != self.step:
            self.step, self._pieces, self.length = step, [], 0
        new = content[self.length - offset :]
        if not new:
            return ""
        begins = not self.length
        self._pieces.append(new)
        self.length += len(new)
        if self._discarded:
            return self._compared()
        separator = _BETWEEN if begins and self._has_spoken else ""
        self._has_spoken = True
        return separator + new

    def _compared(self) -> str:
        """What is new after the text that was sent and does not count any more."""
        text = self.text
        if self._discarded.startswith(text):
            return ""
        new = text[len(self._discarded) :] if text.startswith(self._discarded) else _BETWEEN + text
        self._discarded = ""
        return new

    def discard(self, step: int) -> None:
        """The step begins again."""
        if step == self.step:
            self._discarded = self._discarded or self.text
            self.step = None


class Speech:
    """Thoughts and answers of a run, frame by frame.

    What the model says before it calls a tool is a thought, but that is known only afterwards: it stays where it was
    sent, among the answers.
    """

    def __init__(self) -> None:
        self._channels = {THOUGHT: Channel(), ANSWER: Channel()}

    def hear(self, body: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """What this frame brings: pieces of text, each with what it is."""
        data = body["data"]
        match body["type"]:
            case "reasoning_delta":
                yield from self._say(data["type"], data["step"], data["offset"], data["content"])
            case "reasoning_step":
                yield from self._say(self._kind(data), data["step"], 0, data["content"])
            case "response":
                yield from self._say(ANSWER, 0, 0, data["content"])
            case "retry":
                for channel in self._channels.values():
                    channel.discard(data["step"])

    def _kind(self, data: dict[str, Any]) -> str:
        """As what a finished step was begun."""
        return ANSWER if self._channels[ANSWER].step == data["step"] else data["type"]

    def _say(self, kind: str, step: int, offset: int, content: str) -> Iterator[tuple[str, str]]:
        channel = self._channels.get(kind)
        if channel and (new := channel.say(step, offset, content)):
            yield kind, new

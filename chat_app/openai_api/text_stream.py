"""Turn the frames of a run into text that only grows: a chunk that was sent cannot be taken back."""

from collections.abc import Iterator

from agents_app.event_log.vocabulary import Event, ReasoningDelta, ReasoningStep, Response, Retry

THOUGHT, ANSWER = "thought", "final_answer"
_BETWEEN = "\n\n"


class GrowingText:
    """The text of one kind, step after step.

    If a step begins again after a `retry` and repeats the text that was sent, only the rest of it is sent. Otherwise
    all of it is sent, after a blank line.
    """

    def __init__(self) -> None:
        self.step: int | None = None
        self.length = 0
        self._pieces: list[str] = []
        self._discarded = ""
        self._has_text = False

    @property
    def text(self) -> str:
        """The text of the step so far; `length` is its length."""
        return "".join(self._pieces)

    def add(self, step: int, offset: int, content: str) -> str:
        """Return what is new in this piece of a step, which begins at `offset` of it; usually all of it."""
        if step != self.step:
            self.step, self._pieces, self.length = step, [], 0
        new = content[self.length - offset :]
        if not new:
            return ""
        begins = not self.length
        self._pieces.append(new)
        self.length += len(new)
        if self._discarded:
            return self._after_retry()
        separator = _BETWEEN if begins and self._has_text else ""
        self._has_text = True
        return separator + new

    def _after_retry(self) -> str:
        """Return what is new compared with the text that was sent before the retry."""
        text = self.text
        if self._discarded.startswith(text):
            return ""
        new = text[len(self._discarded) :] if text.startswith(self._discarded) else _BETWEEN + text
        self._discarded = ""
        return new

    def discard(self, step: int) -> None:
        """Begin the step again."""
        if step == self.step:
            self._discarded = self._discarded or self.text
            self.step = None


class TextStream:
    """The thoughts and answers of a run, frame by frame.

    Text before a tool call is a thought, but only the call shows that it was one. By then it has been sent as part of
    the answer, and stays there.
    """

    def __init__(self) -> None:
        self._texts = {THOUGHT: GrowingText(), ANSWER: GrowingText()}

    def feed(self, event: Event) -> Iterator[tuple[str, str]]:
        """Yield the new pieces of text of this event as (kind, text)."""
        match event.data:
            case ReasoningDelta() as data:
                yield from self._add(data.type, data.step, data.offset, data.content)
            case ReasoningStep() as data:
                yield from self._add(self._kind(data), data.step, 0, data.content)
            case Response() as data:
                yield from self._add(ANSWER, 0, 0, data.content)
            case Retry() as data:
                for text in self._texts.values():
                    text.discard(data.step)

    def _kind(self, data: ReasoningStep) -> str:
        """Return the kind as which the step was begun."""
        return ANSWER if self._texts[ANSWER].step == data.step else data.type

    def _add(self, kind: str, step: int, offset: int, content: str) -> Iterator[tuple[str, str]]:
        growing = self._texts.get(kind)
        if growing and (new := growing.add(step, offset, content)):
            yield kind, new

"""Read one model turn from its stream: parts in, deltas and finished steps out."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents_app.engine.events import CUT_SHORT, FINAL_ANSWER, THOUGHT, TOOL_USE, Delta, StepDone
from agents_app.engine.providers.base import BlocksPart, EndPart, Part, ReasoningPart, TextPart, ToolCallPart, UsagePart

_MAX_ID = 128  # characters of a call's id or name that fit into the ledger
_STEP_CHARACTERS = 256  # what a step costs without any text


@dataclass(slots=True)
class _Open:
    """A step that is still streaming."""

    index: int
    type: str
    started: float
    length: int = 0
    pieces: list[str] = field(default_factory=list)
    call_id: str = ""
    name: str = ""

    @property
    def content(self) -> str:
        return "".join(self.pieces)


class TurnReader:
    """Reads one response of the model.

    Text is an answer unless a tool call follows it, which makes it a thought. So a delta's type is provisional.
    """

    def __init__(self, iteration: int, next_index: int) -> None:
        self.iteration = iteration
        self.next_index = next_index
        self.end_reason: str | None = None
        self.usage: UsagePart | None = None
        self.answer: str | None = None
        self.calls: list[StepDone] = []
        self.characters = 0  # of all steps; each step counts as some by itself
        self._text: _Open | None = None
        self._calls: dict[int, _Open] = {}
        self._call_text = ""
        self._native: BlocksPart | None = None

    @property
    def open_steps(self) -> list[int]:
        """The steps that have deltas but are not finished."""
        return sorted(step.index for step in (self._text, *self._calls.values()) if step)

    @property
    def open_answer(self) -> str:
        """The unfinished text of the answer."""
        return self._text.content if self._text and self._text.type == FINAL_ANSWER else ""

    def feed(self, part: Part) -> Iterator[Delta | StepDone]:
        """Yield the events of this part."""
        match part:
            case TextPart(text):
                yield from self._on_text(FINAL_ANSWER, text)
            case ReasoningPart(text):
                yield from self._on_text(THOUGHT, text)
            case ToolCallPart():
                yield from self._on_call(part)
            case BlocksPart():
                self._native = part
            case EndPart(reason):
                self.end_reason = reason
            case UsagePart():
                self.usage = part

    def _on_text(self, kind: str, text: str) -> Iterator[Delta | StepDone]:
        if self._text is None or self._text.type != kind:
            if not text.strip():  # models put blank lines between thinking and answering
                return
            yield from self._close_text()
            self._text = self._open(kind)
            text = text.lstrip("\n")
        yield self._delta(self._text, text)

    def _on_call(self, part: ToolCallPart) -> Iterator[Delta | StepDone]:
        call = self._calls.get(part.position)
        if call is None:
            yield from self._close_text(before_call=True)
            call = self._calls[part.position] = self._open(TOOL_USE)
            ids = {other.call_id for other in self._calls.values()}
            usable = 0 < len(part.id) <= _MAX_ID and part.id not in ids
            call.call_id = part.id if usable else f"call_{call.index}_{time.time_ns():x}"
        if part.name != call.name:  # some servers repeat it with every piece
            call.name = (call.name + part.name)[:_MAX_ID]
        if part.arguments:
            yield self._delta(call, part.arguments)

    def _open(self, kind: str) -> _Open:
        step = _Open(self.next_index, kind, time.time())
        self.next_index += 1
        self.characters += _STEP_CHARACTERS
        return step

    def _delta(self, step: _Open, text: str) -> Delta:
        delta = Delta(step.index, step.type, self.iteration, step.length, text)
        step.pieces.append(text)
        step.length += len(text)
        self.characters += len(text)
        return delta

    def _close_text(self, *, before_call: bool = False) -> Iterator[StepDone]:
        step, self._text = self._text, None
        if step is None:
            return
        if before_call and step.type == FINAL_ANSWER:
            self._call_text += step.content
        yield self._done(step, THOUGHT)

    def _done(self, step: _Open, kind: str, **more: Any) -> StepDone:
        return StepDone(
            index=step.index,
            type=kind,
            iteration=self.iteration,
            content=step.content,
            started=step.started,
            finished=time.time(),
            **more,
        )

    def finish(self) -> Iterator[StepDone]:
        """Yield the steps that end with the turn, and set `answer` or `calls`.

        Calls are not among the steps: they are saved together with their ledger rows.
        """
        if self._calls:
            yield from self._close_text(before_call=True)
            self.calls = [self._finished_call(step) for step in self._calls.values()]
            self.calls[0].provider_data["text"] = self._call_text
            if self._native:
                self.calls[0].provider_data |= {"origin": self._native.origin, "blocks": self._native.blocks}
            return
        if self._text and self._text.type == THOUGHT:
            yield from self._close_text()
        if self._text is None and self.end_reason in CUT_SHORT:
            self.answer = ""  # no answer: the run fails
            return
        step = self._text or self._open(FINAL_ANSWER)
        self._text = None
        self.answer = step.content
        yield self._done(step, FINAL_ANSWER)

    def _finished_call(self, step: _Open) -> StepDone:
        return self._done(
            step,
            TOOL_USE,
            tool_call_id=step.call_id,
            tool_name=step.name,
            arguments=parse_arguments(step.content),
        )


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Return the arguments of a call as an object, or None if the model wrote something else."""
    if not text.strip():
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None

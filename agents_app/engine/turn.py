"""Read one model turn from its stream: parts in, deltas and finished steps out."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agents_app.engine.arguments import parse_arguments
from agents_app.engine.events import CUT_SHORT, FINAL_ANSWER, THOUGHT, TOOL_USE, UNKNOWN_END, Delta, StepDone
from agents_app.engine.providers.base import (
    BlocksPart,
    EndPart,
    FieldsPart,
    Part,
    ReasoningPart,
    TextPart,
    ThoughtEndPart,
    ToolCallPart,
    UsagePart,
)

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
        self._earlier: _Open | None = None  # text that a thought interrupted: the answer, if no text follows
        self._calls: dict[int, _Open] = {}
        self._call_text = ""
        self._native: BlocksPart | None = None
        self._fields = FieldsPart("", {}, {})

    @property
    def open_steps(self) -> list[int]:
        """The steps that have deltas but are not finished."""
        return sorted(step.index for step in (self._earlier, self._text, *self._calls.values()) if step)

    @property
    def open_answer(self) -> str:
        """The unfinished text of the answer."""
        step = self._open_text
        return step.content if step else ""

    @property
    def is_empty(self) -> bool:
        """Whether the model has neither answered nor called a tool."""
        return not self._calls and not self.open_answer.strip()

    @property
    def _open_text(self) -> _Open | None:
        return self._text if self._text and self._text.type == FINAL_ANSWER else self._earlier

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
            case FieldsPart():
                self._fields = part
            case ThoughtEndPart():
                yield from self._close_text()
            case EndPart(reason):
                self.end_reason = reason
            case UsagePart():
                self.usage = part

    def _on_text(self, kind: str, text: str) -> Iterator[Delta | StepDone]:
        if self._text is None or self._text.type != kind:
            if not text.strip():  # models put blank lines between thinking and answering
                return
            if kind == THOUGHT and self._earlier is None:
                self._earlier = self._text
            else:
                yield from self._close_text()
            self._text = self._open(kind)
            text = text.lstrip("\n")
        yield self._delta(self._text, text)

    def _on_call(self, part: ToolCallPart) -> Iterator[Delta | StepDone]:
        call = self._calls.get(part.position)
        if call is None:
            yield from self._close_text(before_call=True)
            call = self._calls[part.position] = self._open(TOOL_USE)
        if part.id and not call.call_id:
            ids = {other.call_id for other in self._calls.values()}
            call.call_id = part.id if len(part.id) <= _MAX_ID and part.id not in ids else self._new_id(call)
        if part.name:
            call.name = (call.name + part.name)[:_MAX_ID]
        if part.arguments:
            yield self._delta(call, part.arguments)

    def _new_id(self, call: _Open) -> str:
        return f"call_{call.index}_{time.time_ns():x}"

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
        steps = [step for step in (self._earlier, self._text) if step]
        self._text = self._earlier = None
        for step in steps:
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
            self.calls = [self._finished_call(position, step) for position, step in self._calls.items()]
            self.calls[0].provider_data |= {"text": self._call_text} | self._message_data()
            return
        if self._text and self._text.type == THOUGHT:
            yield self._done(self._text, THOUGHT)
            self._text = None
        step, self._text, self._earlier = self._open_text, None, None
        self.answer = step.content if step else ""
        if step:  # else there is no answer: the run fails
            yield self._done(step, FINAL_ANSWER, provider_data=self._message_data())

    def _message_data(self) -> dict[str, Any]:
        """Return what the provider needs back with the turn."""
        if self._native:
            return {"origin": self._native.origin, "blocks": self._native.blocks}
        if self._fields.message or self._fields.calls:
            return {"origin": self._fields.origin, "fields": self._fields.message}
        return {}

    def _finished_call(self, position: int, step: _Open) -> StepDone:
        arguments = parse_arguments(step.content)
        provider_data: dict[str, Any] = {}
        if fields := self._fields.calls.get(position):
            provider_data["call_fields"] = fields
        if self.end_reason in (*CUT_SHORT, UNKNOWN_END) and (arguments is None or not step.content.strip()):
            provider_data["cut"], arguments = self.end_reason, None
        return self._done(
            step,
            TOOL_USE,
            tool_call_id=step.call_id or self._new_id(step),
            tool_name=step.name,
            arguments=arguments,
            provider_data=provider_data,
        )

"""Translate a run's frames into the events of a response stream."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents_app.api import sse
from agents_app.event_log import EventType
from agents_app.event_log.vocabulary import Compaction, Event, ReasoningDelta, ReasoningStep, Response, Retry
from agents_app.live import Frame
from agents_app.models import Step
from chat_app.openai_api import compaction
from chat_app.openai_api.response_object import call, function_call, item_id, message, reasoning, response
from chat_app.openai_api.segments import ClientCall, Segment, call_id_of
from chat_app.openai_api.sequence_number import DONE, SequenceNumber
from chat_app.openai_api.text_stream import ANSWER, THOUGHT, GrowingText


@dataclass(slots=True)
class _Item:
    """The output item whose text is being streamed."""

    kind: str
    step: int
    index: int
    identifier: str
    text: GrowingText = field(default_factory=GrowingText)
    discarded: bool = False


class ResponseEvents:
    """The events of a segment as bytes of a stream for `user`, whose client has those up to `after`."""

    def __init__(self, segment: Segment, user: Any, after: SequenceNumber | None = None) -> None:
        self.segment = segment
        self._run = segment.run
        self._user = user
        self._after = after
        self._base = 0
        self._count = 0
        self._summaries = 0
        self._open: _Item | None = None
        self._calls: dict[str, tuple[int, str, str, str]] = {}
        self._number = SequenceNumber(0, 0)

    def feed(self, event: Event) -> bytes:
        """Return the stream's events for this event of the log; none for the last one: see `end`."""
        return b"".join(self._events(event))

    def _events(self, event: Event) -> Iterator[bytes]:
        frame = event.frame
        if event.type == EventType.REASONING_START or frame.seq == self.segment.first_seq:
            yield from self._begin_response(frame.seq)
        match event.data:
            case ReasoningDelta() as data if data.type in (THOUGHT, ANSWER):
                yield from self._text(frame, data.type, data.step, data.offset, data.content)
            case ReasoningStep() as data if data.type in (THOUGHT, ANSWER):
                yield from self._text(frame, self._kind(frame, data), data.step, 0, data.content)
                yield from self._close(frame.seq, data.content, commentary=data.type == THOUGHT)
            case ReasoningStep(type=Step.Kind.TOOL_USE, action_id=str(action)) as data:
                yield from self._client_call(frame.seq, data, action)
            case ReasoningStep(type=Step.Kind.TOOL_USE) as data:
                yield from self._tool_use(frame.seq, data)
            case ReasoningStep(type=Step.Kind.TOOL_RESULT) as data:
                yield from self._tool_result(frame.seq, data)
            case Compaction(summary=str() as summary) if self._run.overrides.compaction:
                yield from self._compaction(frame.seq, summary)
            case Response() as data:
                yield from self._text(frame, ANSWER, 0, 0, data.content)
                yield from self._close(frame.seq, data.content)
            case Retry() as data if self._open and self._open.step == data.step:
                self._open.text.discard(data.step)
                self._open.discarded = True

    def _begin_response(self, seq: int) -> Iterator[bytes]:
        self._base = seq
        running = response(self.segment, user=self._user, status="in_progress")
        yield self._event(seq, 0, "response.created", response=running)
        yield self._event(seq, 1, "response.in_progress", response=running)

    def end(self, seq: int, whole: dict[str, Any]) -> bytes:
        """Return the last events; `whole` is the response as the database has it."""
        status = "incomplete" if whole["status"] == "cancelled" else whole["status"]
        last = self._event(seq, DONE + 4, f"response.{status}", response=whole)
        return b"".join(self._close(seq)) + last

    def error(self, code: str, text: str) -> bytes:
        """Return the event of a failure that is not the run's own."""
        error = {
            "type": "error",
            "code": code,
            "message": text,
            "param": None,
            "sequence_number": self._number.pack() + 1,
        }
        return sse.event(orjson.dumps(error), name="error")

    # Texts

    def _kind(self, frame: Frame, data: ReasoningStep) -> str:
        """Return the kind as which a finished step was begun, in this stream or in the one that the client resumes."""
        if self._open and not self._open.discarded and self._open.step == data.step:
            return self._open.kind
        begun = self._after.kind if self._after and self._is_inside(frame) else None
        return begun or data.type

    def _is_inside(self, frame: Frame) -> bool:
        """Return whether the client has a part of what this frame covers."""
        return self._after is not None and frame.first <= self._base + self._after.frame < frame.seq

    def _text(self, frame: Frame, kind: str, step: int, offset: int, content: str) -> Iterator[bytes]:
        item = self._open
        if item is None or (item.kind, item.step) != (kind, step):
            yield from self._close(frame.first - 1)  # an item that began before a `retry` and does not begin again
            item = yield from self._begin(frame.first, kind, step)
        item.discarded = False
        before = item.text.length
        new = item.text.add(step, offset, content)
        if self._after and self._is_inside(frame) and self._after.characters > before:
            new = content[self._after.characters - offset :]
        if new:
            number = SequenceNumber.of_delta(frame.seq - self._base, kind, offset + len(content))
            name = "response.output_text.delta" if kind == ANSWER else "response.reasoning_text.delta"
            yield self._numbered(number, name, **_part(item), delta=new, **_logprobs(kind))

    def _begin(self, seq: int, kind: str, step: int) -> Generator[bytes, None, _Item]:
        item = _Item(kind, step, self._next_index(), item_id("msg" if kind == ANSWER else "rs", self._run, step))
        self._open = item
        new = _text_item(item, None, status="in_progress")
        yield self._event(seq, 0, "response.output_item.added", output_index=item.index, item=new)
        yield self._event(seq, 1, "response.content_part.added", **_part(item), part=_content(item, ""))
        return item

    def _close(self, seq: int, text: str | None = None, *, commentary: bool = False) -> Iterator[bytes]:
        """End the open item. Without `text`, it was cut off."""
        item, self._open = self._open, None
        if item is None:
            return
        status = "incomplete" if text is None else "completed"
        whole = item.text.text if text is None else text
        name = "response.output_text.done" if item.kind == ANSWER else "response.reasoning_text.done"
        finished = _text_item(item, whole, status=status, phase="commentary" if commentary else "final_answer")
        yield self._event(seq, DONE, name, **_part(item), text=whole, **_logprobs(item.kind))
        yield self._event(seq, DONE + 1, "response.content_part.done", **_part(item), part=_content(item, whole))
        yield self._event(seq, DONE + 2, "response.output_item.done", output_index=item.index, item=finished)

    # Tools

    def _tool_use(self, seq: int, data: ReasoningStep) -> Iterator[bytes]:
        yield from self._close(seq)
        index, tool = self._next_index(), str(data.tool_name)
        identifier = item_id("mcp", self._run, data.step)
        self._calls[str(data.tool_call_id)] = (index, identifier, tool, data.content)
        item = {"output_index": index, "item_id": identifier}
        new = call(identifier, tool, "", None)
        done = "response.mcp_call_arguments.done"
        yield self._event(seq, DONE + 3, "response.output_item.added", output_index=index, item=new)
        yield self._event(seq, DONE + 4, "response.mcp_call.in_progress", **item)
        yield self._event(seq, DONE + 5, done, **item, arguments=data.content)

    def _client_call(self, seq: int, data: ReasoningStep, action: str) -> Iterator[bytes]:
        """Report a call that the client has to make: in one piece, as soon as it is known to be complete and valid."""
        yield from self._close(seq)
        made = ClientCall(call_id_of(action), str(data.tool_name), data.content or "{}", data.step)
        finished = function_call(self._run, made)
        index = self._next_index()
        item = {"output_index": index, "item_id": finished["id"]}
        new = function_call(self._run, made, status="in_progress")
        name = "response.function_call_arguments"
        yield self._event(seq, DONE + 3, "response.output_item.added", output_index=index, item=new)
        yield self._event(seq, DONE + 4, f"{name}.delta", **item, delta=made.arguments)
        yield self._event(seq, DONE + 5, f"{name}.done", **item, name=made.name, arguments=made.arguments)
        yield self._event(seq, DONE + 6, "response.output_item.done", output_index=index, item=finished)

    def _tool_result(self, seq: int, data: ReasoningStep) -> Iterator[bytes]:
        if (open_call := self._calls.pop(str(data.tool_call_id), None)) is None:
            return
        index, identifier, tool, arguments = open_call
        item = call(identifier, tool, arguments, (data.content, data.is_error is True))
        name = f"response.mcp_call.{item['status']}"
        yield self._event(seq, 0, name, output_index=index, item_id=identifier)
        yield self._event(seq, 1, "response.output_item.done", output_index=index, item=item)

    def _compaction(self, seq: int, summary: str) -> Iterator[bytes]:
        yield from self._close(seq)
        index, item = self._next_index(), compaction.item(self._run, self._summaries, summary)
        self._summaries += 1
        yield self._event(seq, DONE + 3, "response.output_item.added", output_index=index, item=item)
        yield self._event(seq, DONE + 4, "response.output_item.done", output_index=index, item=item)

    def _next_index(self) -> int:
        self._count += 1
        return self._count - 1

    def _event(self, seq: int, place: int, kind: str, **more: Any) -> bytes:
        return self._numbered(SequenceNumber(seq - self._base, place), kind, **more)

    def _numbered(self, number: SequenceNumber, kind: str, **more: Any) -> bytes:
        if self._after is not None and number <= self._after:
            return b""
        self._number = number
        return sse.event(orjson.dumps({"type": kind, "sequence_number": number.pack(), **more}), name=kind)


def _part(item: _Item) -> dict[str, Any]:
    return {"item_id": item.identifier, "output_index": item.index, "content_index": 0}


def _logprobs(kind: str) -> dict[str, Any]:
    return {"logprobs": []} if kind == ANSWER else {}


def _content(item: _Item, text: str) -> dict[str, Any]:
    if item.kind == THOUGHT:
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _text_item(item: _Item, text: str | None, *, status: str, phase: str | None = None) -> dict[str, Any]:
    if item.kind == THOUGHT:
        return reasoning(item.identifier, text, status=status)
    return message(item.identifier, text, status=status, phase=phase)

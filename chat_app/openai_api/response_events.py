"""Translate a run's frames into the events of a response stream."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents_app.api import sse
from agents_app.models import Run
from chat_app.openai_api.response_object import call, item_id, message, reasoning, response
from chat_app.openai_api.sequence_number import DONE, SequenceNumber
from chat_app.openai_api.text_stream import ANSWER, THOUGHT, GrowingText

FrameBody = dict[str, Any]


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
    """The events of one run as bytes of a stream. The client has those up to `after`."""

    def __init__(self, run: Run, after: SequenceNumber | None = None) -> None:
        self._run = run
        self._after = after
        self._base = 0
        self._count = 0
        self._open: _Item | None = None
        self._calls: dict[str, tuple[int, str, str, str]] = {}
        self._number = SequenceNumber(0, 0)

    def feed(self, body: FrameBody) -> bytes:
        """Return the events of this frame; none for the last one: see `end`."""
        return b"".join(self._events(body))

    def _events(self, body: FrameBody) -> Iterator[bytes]:
        data = body["data"]
        match body["type"]:
            case "reasoning_start":
                self._base = body["seq"]
                running = response(self._run, status="in_progress")
                yield self._event(body["seq"], 0, "response.created", response=running)
                yield self._event(body["seq"], 1, "response.in_progress", response=running)
            case "reasoning_delta" if data["type"] in (THOUGHT, ANSWER):
                yield from self._text(body, data["type"], data["offset"])
            case "reasoning_step" if data["type"] in (THOUGHT, ANSWER):
                yield from self._text(body, self._kind(body), 0)
                yield from self._close(body["seq"], data["content"], commentary=data["type"] == THOUGHT)
            case "reasoning_step" if data["type"] == "tool_use":
                yield from self._tool_use(body)
            case "reasoning_step" if data["type"] == "tool_result":
                yield from self._tool_result(body)
            case "response":
                whole = body | {"data": {"step": 0, "content": data["content"]}}
                yield from self._text(whole, ANSWER, 0)
                yield from self._close(body["seq"], data["content"])
            case "retry" if self._open and self._open.step == data["step"]:
                self._open.text.discard(data["step"])
                self._open.discarded = True

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

    def _kind(self, body: FrameBody) -> str:
        """Return the kind as which a finished step was begun, in this stream or in the one that the client resumes."""
        data = body["data"]
        if self._open and not self._open.discarded and self._open.step == data["step"]:
            return self._open.kind
        begun = self._after.kind if self._after and self._is_inside(body) else None
        return begun or data["type"]

    def _is_inside(self, body: FrameBody) -> bool:
        """Return whether the client has a part of what this frame covers."""
        return self._after is not None and _first(body) <= self._base + self._after.frame < body["seq"]

    def _text(self, body: FrameBody, kind: str, offset: int) -> Iterator[bytes]:
        data = body["data"]
        item = self._open
        if item is None or (item.kind, item.step) != (kind, data["step"]):
            first = _first(body)
            yield from self._close(first - 1)  # an item that began before a `retry` and does not begin again
            item = yield from self._begin(first, kind, data["step"])
        item.discarded = False
        before = item.text.length
        new = item.text.add(data["step"], offset, data["content"])
        if self._after and self._is_inside(body) and self._after.characters > before:
            new = data["content"][self._after.characters - offset :]
        if new:
            number = SequenceNumber.of_delta(body["seq"] - self._base, kind, offset + len(data["content"]))
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

    def _tool_use(self, body: FrameBody) -> Iterator[bytes]:
        yield from self._close(body["seq"])
        seq, data, index = body["seq"], body["data"], self._next_index()
        identifier = item_id("mcp", self._run, data["step"])
        self._calls[data["tool_call_id"]] = (index, identifier, data["tool_name"], data["content"])
        item = {"output_index": index, "item_id": identifier}
        new = call(identifier, data["tool_name"], "", None)
        done = "response.mcp_call_arguments.done"
        yield self._event(seq, DONE + 3, "response.output_item.added", output_index=index, item=new)
        yield self._event(seq, DONE + 4, "response.mcp_call.in_progress", **item)
        yield self._event(seq, DONE + 5, done, **item, arguments=data["content"])

    def _tool_result(self, body: FrameBody) -> Iterator[bytes]:
        seq, data = body["seq"], body["data"]
        if (open_call := self._calls.pop(data["tool_call_id"], None)) is None:
            return
        index, identifier, tool, arguments = open_call
        item = call(identifier, tool, arguments, (data["content"], data["is_error"]))
        name = f"response.mcp_call.{item['status']}"
        yield self._event(seq, 0, name, output_index=index, item_id=identifier)
        yield self._event(seq, 1, "response.output_item.done", output_index=index, item=item)

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


def _first(body: FrameBody) -> int:
    return body.get("first") or body["seq"]


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

"""Decode the bytes of a stream of Anthropic's Messages API into parts. Pure: no I/O."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from agents_app.engine.providers import failures
from agents_app.engine.providers.base import (
    BlocksPart,
    EndPart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    UsagePart,
    tokens,
)
from agents_app.engine.providers.event_stream import ErrorEvent, EventStream
from agents_app.engine.providers.halves import Halves
from agents_app.exceptions import LimitReached, ModelError, ModelUnavailable

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # only the server's own tools, which we never request, can pause a turn
}
_MAX_KEPT = 4 * 1024 * 1024
_BLOCK_CHARACTERS = 256  # what a block costs without any text


@dataclass(slots=True)
class _Block:
    """A block of the answer: its start event's data, and the pieces since then."""

    data: dict[str, Any]
    position: int = -1  # among the calls, if it is one
    pieces: list[str] = field(default_factory=list)
    signature: str = ""

    @property
    def kind(self) -> str:
        return self.data["type"]

    @property
    def is_opaque(self) -> bool:
        """Whether the provider needs it back unchanged."""
        return self.kind not in ("text", "tool_use")

    def whole(self) -> dict[str, Any]:
        """Return the block to send back. A call only keeps its place: the turn has its data."""
        if self.kind == "tool_use":
            return {"type": "tool_use"}
        if self.kind == "text":
            return {"type": "text", "text": "".join(self.pieces)}
        if self.kind == "thinking":
            signature = {"signature": self.signature} if self.signature else {}
            return self.data | {"thinking": "".join(self.pieces)} | signature
        return self.data


class MessageEvents:
    """Decodes the stream of `POST /v1/messages`. `origin`: who can read the blocks of this answer.

    Source: https://platform.claude.com/docs/en/build-with-claude/streaming, and the types of the SDK.
    """

    def __init__(self, origin: str) -> None:
        self._events = EventStream()
        self._halves = Halves()
        self._origin = origin
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._usage: dict[str, Any] = {}
        self.has_end = False
        self.done = False
        self.error: ModelError | None = None  # there is no more to read
        self._kept = 0  # characters that no part shows

    def feed(self, data: bytes) -> list[Part]:
        """Return the parts in `data`.

        Raises:
            ModelUnavailable: invalid JSON, or an error event that allows a retry.
            ModelError: any other error event, or the model declines to answer.
        """
        return self._read(self._events.feed(data))

    def end(self) -> list[Part]:
        """Return the parts of what no blank line ended. Raises as `feed` does."""
        return self._read(self._events.end())

    def _read(self, events: list[bytes]) -> list[Part]:
        if self.error:
            raise self.error
        parts: list[Part] = []
        try:
            for data in events:
                self._decode(data, parts)
        except (ModelError, LimitReached) as error:
            if not parts or isinstance(error, LimitReached):
                raise
            self.error = error  # after the parts before it, which is the same however the stream is cut
        return parts

    def _decode(self, data: bytes, parts: list[Part]) -> None:
        if data == b"[DONE]":  # of a proxy
            self.done = True
            return
        if type(data) is ErrorEvent:
            raise failures.in_stream(bytes(data).decode(errors="replace"))
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            event = self._halves.loads(data)
        try:
            self._event(event, parts)
        except (ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
            text = "The model's stream has an invalid chunk."
            raise ModelUnavailable(text, code="model_bad_stream") from error

    def _event(self, event: dict[str, Any], parts: list[Part]) -> None:
        match event.get("type"):
            case "content_block_delta":
                self._delta(self._blocks[event["index"]], event["delta"], parts)
            case "content_block_start":
                self._begin(event["index"], event["content_block"], parts)
            case "content_block_stop":
                self._stop(self._blocks[event["index"]], parts)
            case "message_start":
                self._count(event["message"].get("usage"))
            case "message_delta":
                self._count(event.get("usage"))
                self._finish(event["delta"], parts)
            case "message_stop":
                self.done = True
            case "error":
                raise failures.in_stream(event)
            case None if failures.is_failure(event):
                raise failures.in_stream(event)

    def _begin(self, index: int, data: dict[str, Any], parts: list[Part]) -> None:
        block = self._blocks[index] = _Block(data)
        self._keep(_BLOCK_CHARACTERS + len(orjson.dumps(data)))
        if block.kind == "tool_use":
            block.position = self._calls
            self._calls += 1
            identity = data["id"]
            identity = str(identity) if type(identity) is int else identity
            parts.append(ToolCallPart(block.position, _text(identity), _text(data["name"]), ""))
        elif block.kind in ("text", "thinking"):
            self._on_text(block, data.get(block.kind) or "", parts)

    def _delta(self, block: _Block, delta: dict[str, Any], parts: list[Part]) -> None:
        match delta["type"]:
            case "text_delta":
                self._on_text(block, delta["text"], parts)
            case "thinking_delta":
                self._on_text(block, delta["thinking"], parts)
            case "input_json_delta":
                self._on_arguments(block, delta["partial_json"], parts)
            case "signature_delta":
                self._keep(len(delta["signature"]))
                block.signature += delta["signature"]

    def _keep(self, characters: int) -> None:
        self._kept += characters
        if self._kept > _MAX_KEPT:
            text = "The model's server sent more blocks and signatures than one answer may have."
            raise LimitReached(text, code="max_characters")

    def _on_text(self, block: _Block, words: str, parts: list[Part]) -> None:
        if text := self._whole(block, words):
            block.pieces.append(text)
            parts.append(TextPart(text) if block.kind == "text" else ReasoningPart(text))

    def _whole(self, block: _Block, text: str) -> str:
        """Return a piece of the block's text without NUL, and without half of a character at its end."""
        return self._halves.join(text, id(block)) if self._halves.is_needed else _text(text)

    def _on_arguments(self, block: _Block, json: str, parts: list[Part]) -> None:
        if text := self._whole(block, json):
            block.pieces.append(text)
            parts.append(ToolCallPart(block.position, "", "", text))

    def _stop(self, block: _Block, parts: list[Part]) -> None:
        if self._halves.channel == id(block):  # the other half of a character did not come
            self._halves.channel = None
            add = self._on_arguments if block.kind == "tool_use" else self._on_text
            add(block, "\ufffd", parts)
        if block.kind == "tool_use" and not block.pieces and block.data.get("input"):
            self._on_arguments(
                block, orjson.dumps(block.data["input"]).decode(), parts
            )  # sent whole, as some servers do

    def _finish(self, delta: dict[str, Any], parts: list[Part]) -> None:
        reason = delta.get("stop_reason")
        if not reason:
            return
        if reason == "refusal":
            raise _refusal(delta.get("stop_details"))
        parts.append(self._usage_part())
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        if any(block.is_opaque for block in blocks):
            parts.append(BlocksPart(self._origin, [block.whole() for block in blocks]))
        parts.append(EndPart(_REASONS.get(reason, reason)))
        self.has_end = True

    def _count(self, usage: dict[str, Any] | None) -> None:
        """Merge counts: those at the end are totals, and may omit what the start contains."""
        self._usage |= {name: count for name, count in (usage or {}).items() if count is not None}

    def _usage_part(self) -> UsagePart:
        count, details = self._usage.get, self._usage.get("output_tokens_details") or {}
        cached = tokens(count("cache_read_input_tokens"))
        return UsagePart(
            input_tokens=tokens(count("input_tokens")) + tokens(count("cache_creation_input_tokens")) + cached,
            output_tokens=tokens(count("output_tokens")),
            reasoning_tokens=tokens(details.get("thinking_tokens")),
            cached_tokens=cached,
        )


def _refusal(details: Any) -> ModelError:
    explanation = details.get("explanation") if isinstance(details, dict) else None
    why = f": {explanation}" if isinstance(explanation, str) and explanation.strip() else "."
    return ModelError(f"The model declined to answer{why}", code="content_filter")


def _text(value: Any) -> str:
    """Return text without NUL, which databases reject."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value.replace("\x00", "") if "\x00" in value else value

"""Decode the bytes of a chat completion's stream into parts. Pure: no I/O."""

import json
from typing import Any

import orjson

from agents_app.engine.events import UNKNOWN_END
from agents_app.engine.providers import failures
from agents_app.engine.providers.base import (
    EndPart,
    Part,
    ReasoningPart,
    ToolCallPart,
    UsagePart,
    tokens,
)
from agents_app.engine.providers.call_pieces import CallPieces
from agents_app.engine.providers.event_stream import EventStream
from agents_app.engine.providers.halves import Halves
from agents_app.engine.providers.sent_back import SentBack
from agents_app.engine.providers.thinking_tags import ThinkingTags
from agents_app.exceptions import ModelError
from agents_app.foreign_text import clean

_FINISH_REASONS = {
    "function_call": "tool_calls",
    "eos": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "repetition_truncation": "length",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "sensitive": "content_filter",
    "abort": UNKNOWN_END,
    "cancelled": UNKNOWN_END,
}
_USUAL = {"role", "content", "reasoning_content", "tool_calls"}  # fields of a delta
_MAX_DEPTH = 4  # of thoughts in parts of parts
_FAILED = {"error", "insufficient_system_resource", "network_error"}


class ChatChunks:
    """Decodes the stream of `POST /chat/completions`. `origin`: the server that gets its own fields back.

    Source: https://platform.openai.com/docs/api-reference/chat-streaming, and the variants of other servers:
    `reasoning_content` (DeepSeek, vLLM), `reasoning` (Ollama, OpenRouter), thoughts in tags or parts (Mistral). What
    has an unexpected type is left out. After `error` is set there is no more to read.
    """

    def __init__(self, origin: str = "") -> None:
        self._events = EventStream()
        self._tags = ThinkingTags()
        self._calls = CallPieces()
        self._sent_back = SentBack(origin)
        self._reasoning = self._sent_back.reasoning
        self._halves = Halves()
        self.has_end = False
        self.done = False
        self.error: ModelError | None = None

    def feed(self, data: bytes) -> list[Part]:
        """Return the parts in `data`.

        Raises:
            ModelUnavailable: no event stream, invalid JSON, or an error object that allows a retry.
            ModelError: any other error object.
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
                if data == b"[DONE]":
                    self._finish(parts)
                    break
                self._chunk(data, parts)
        except ModelError as error:
            if not parts:
                raise
            self.error = error  # after the parts before it, which is the same however the stream is cut
        return parts

    def _chunk(self, data: bytes, parts: list[Part]) -> None:
        if type(data) is not bytes:
            raise failures.in_stream(bytes(data).decode(errors="replace"))
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            chunk = self._halves.loads(data)
        if type(chunk) is not dict:
            if isinstance(chunk, list) and failures.is_failure(chunk):
                raise failures.in_stream(chunk)
            return
        if chunk.get("error"):
            raise failures.in_stream(chunk)
        choices = chunk.get("choices")
        if choices:
            choice = choices[0] if isinstance(choices, list) else None
            if isinstance(choice, dict):
                self._choice(choice, parts)
        elif choices is None and failures.is_failure(chunk):
            raise failures.in_stream(chunk)
        if usage := chunk.get("usage"):
            parts.extend(_usage(usage))

    def _choice(self, choice: dict[str, Any], parts: list[Part]) -> None:
        delta = choice.get("delta") or choice.get("message")
        if type(delta) is dict:
            self._delta(delta, parts)
        reason = choice.get("finish_reason")
        if type(reason) is str and reason:
            self._end(reason, choice, parts)
        elif "message" in choice and type(delta) is dict:  # a whole answer
            self._end("tool_calls" if self._calls else "stop", choice, parts)

    def _delta(self, delta: dict[str, Any], parts: list[Part]) -> None:
        content = delta.get("content")
        if content is None or len(delta) > 1:  # most have a content and nothing else
            self._fields(delta, parts)
        if content:
            self._text(content, parts)
        if calls := delta.get("tool_calls"):
            parts.extend(self._tags.end())
            for call in calls if isinstance(calls, list) else [calls]:
                self._call(call, parts)

    def _fields(self, delta: dict[str, Any], parts: list[Part]) -> None:
        """Read the fields that only some servers send."""
        thought = delta.get("reasoning_content")
        if thought is not None:
            self._thought("reasoning_content", thought, parts)
            if len(delta) == 1:
                return
        if delta.keys() <= _USUAL:
            return
        if (same := delta.get("reasoning")) is not None:  # some send a thought under both names
            self._thought("reasoning", same, [] if thought else parts)
        thought = thought or same or _text_of_details(delta.get("reasoning_details"))
        if thought and not same and not delta.get("reasoning_content"):
            parts.append(ReasoningPart(self._clean(thought, "thought", parts)))
        if refusal := delta.get("refusal"):
            self._text(refusal, parts)
        self._sent_back.on_message(delta)

    def _thought(self, name: str, text: Any, parts: list[Part]) -> None:
        if self._halves.is_needed or type(text) is not str or "\x00" in text:
            text = self._clean(text, "thought", parts)
        if (pieces := self._reasoning.get(name)) is None:
            pieces = self._reasoning[name] = []
        if text:
            pieces.append(text)
            parts.append(ReasoningPart(text))

    def _text(self, content: Any, parts: list[Part]) -> None:
        if type(content) is not str:
            content, thought = _split_parts(content)
            if thought := self._clean(thought, "thought", parts):
                parts.append(ReasoningPart(thought))
        if self._halves.is_needed or "\x00" in content:
            content = self._clean(content, "text", parts)
        if content:
            parts.extend(self._tags.feed(content))

    def _call(self, call: Any, parts: list[Part]) -> None:
        if not isinstance(call, dict):
            return
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        name = function.get("name")
        name = clean(name) if isinstance(name, str) else ""
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # Ollama's older versions send an object
            arguments = json.dumps(arguments, ensure_ascii=False)
        arguments = arguments if isinstance(arguments, str) else ""
        part = self._calls.add(call.get("index"), call.get("id"), name, arguments)
        part.arguments = self._clean(part.arguments, part.position, parts)
        self._sent_back.on_call(part.position, call)
        parts.append(part)

    def _clean(self, value: Any, channel: Any, parts: list[Part]) -> str:
        """Return a piece of a text for databases: whole characters, and no NUL."""
        if type(value) is not str:
            return ""
        if self._halves.is_needed:
            if value and self._halves.channel not in (None, channel):
                self._end_half(parts)
            return self._halves.join(value, channel)
        return value.replace("\x00", "") if "\x00" in value else value

    def _end_half(self, parts: list[Part]) -> None:
        """Put U+FFFD in the place of half of a character whose other half did not come."""
        channel, self._halves.channel = self._halves.channel, None
        if channel == "text":
            parts.extend(self._tags.feed("\ufffd"))
        elif channel == "thought":
            parts.append(ReasoningPart("\ufffd"))
        elif channel is not None:
            parts.append(ToolCallPart(channel, "", "", "\ufffd"))

    def _end(self, reason: str, choice: dict[str, Any], parts: list[Part]) -> None:
        reason = reason.lower()
        if reason in _FAILED:
            raise failures.in_stream(choice.get("error") or {})
        self._end_half(parts)
        parts.extend(self._tags.end())
        if fields := self._sent_back.part(has_calls=bool(self._calls)):
            parts.append(fields)
        parts.append(EndPart(_FINISH_REASONS.get(reason, reason)))
        self.has_end = True

    def _finish(self, parts: list[Part]) -> None:
        self.done = True
        if not self.has_end:
            self._end(UNKNOWN_END, {}, parts)


def _split_parts(content: Any, depth: int = 0) -> tuple[str, str]:
    """Return the text and the thoughts of a content that is a part or a list of parts, as Mistral sends it."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            if part.get("type") in ("thinking", "reasoning"):
                inner = part.get("thinking") or part.get("reasoning") or part.get("text")
                if isinstance(inner, str):
                    thoughts.append(inner)
                elif depth < _MAX_DEPTH:
                    thoughts.extend(_split_parts(inner, depth + 1))
            elif isinstance(text := part.get("text") or part.get("refusal"), str):
                texts.append(text)
    return "".join(texts), "".join(thoughts)


def _text_of_details(details: Any) -> str:
    """Return what OpenRouter's `reasoning_details` show of the thoughts."""
    if not isinstance(details, list):
        return ""
    texts = [detail.get("text") or detail.get("summary") for detail in details if isinstance(detail, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _usage(usage: Any) -> list[UsagePart]:
    if not isinstance(usage, dict):
        return []
    details, prompt_details = usage.get("completion_tokens_details"), usage.get("prompt_tokens_details")
    return [
        UsagePart(
            input_tokens=tokens(usage.get("prompt_tokens")),
            output_tokens=tokens(usage.get("completion_tokens")),
            reasoning_tokens=tokens(details.get("reasoning_tokens")) if isinstance(details, dict) else 0,
            cached_tokens=tokens(prompt_details.get("cached_tokens")) if isinstance(prompt_details, dict) else 0,
        )
    ]

"""Decode the bytes of a model's stream into parts. Pure: no I/O."""

from collections.abc import Iterator
from typing import Any

import orjson

from agents_app.engine.providers.base import EndPart, Part, ReasoningPart, TextPart, ToolCallPart, UsagePart, tokens
from agents_app.exceptions import ModelError, ModelUnavailable

_OPEN, _CLOSE = "<think>", "</think>"
_MAX_LINE = 4 * 1024 * 1024
_MAX_BLANK = 4096  # characters of white space before a tag
_FINISH_REASONS = {"function_call": "tool_calls", "eos": "stop", "max_tokens": "length"}


class SSELines:
    """Extracts the `data:` payloads of a server-sent event stream, however its bytes are split.

    OpenAI-compatible servers put one JSON text on one line, so lines need not be joined.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the payloads that `data` completes.

        Raises:
            ModelUnavailable: the data is not an event stream.
        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _MAX_LINE:
            raise ModelUnavailable("The model's stream has a line that does not end.", code="model_bad_stream")
        for line in lines:
            yield from _payload(line)

    def end(self) -> Iterator[bytes]:
        """Yield the payload of an unterminated last line."""
        line, self._rest = self._rest, b""
        yield from _payload(line)


def _payload(line: bytes) -> Iterator[bytes]:
    if line.startswith(b"data:"):
        yield line[5:].strip()
    elif line.startswith(b"{"):  # a server that does not stream, or only sends an error
        yield line
    elif line.strip() and not line.startswith((b":", b"event:", b"id:", b"retry:")):
        raise ModelUnavailable("The model's server sent something that is not a stream.", code="model_bad_stream")


class ThinkTags:
    """Splits an answer that begins with `<think>…</think>` into reasoning and text, even if a tag is split."""

    # start → opened (skip newlines after the tag) → thinking → closed (skip newlines) → text
    def __init__(self) -> None:
        self._state = "start"
        self._held = ""

    def feed(self, text: str) -> list[Part]:
        """Return the parts that `text` completes, the same however the answer is split."""
        if self._state == "text":
            return [TextPart(text)]
        self._held += text
        if self._state == "start":
            self._begin()
        parts: list[Part] = []
        if self._state in ("opened", "thinking"):
            parts += self._think()
        if self._state == "closed":
            self._held = self._held.lstrip("\n")
            if self._held:
                self._state = "text"
        if self._state == "text":
            parts += self.end()
        return parts

    def _begin(self) -> None:
        begin = self._held.lstrip()
        if begin.startswith(_OPEN):
            self._state, self._held = "opened", begin[len(_OPEN) :]
        elif not _OPEN.startswith(begin) or len(self._held) > _MAX_BLANK:
            self._state = "text"

    def _think(self) -> list[Part]:
        if self._state == "opened":
            self._held = self._held.lstrip("\n")
            if self._held:
                self._state = "thinking"
        thought, closed, rest = self._held.partition(_CLOSE)
        if closed:
            self._state, self._held = "closed", rest
        else:
            keep = len(self._held) - _partial_tag_length(self._held)
            thought, self._held = self._held[:keep], self._held[keep:]
        return [ReasoningPart(thought)] if thought else []

    def end(self) -> list[Part]:
        """Return the text that was held back for a tag."""
        held, self._held = self._held, ""
        if not held:
            return []
        return [ReasoningPart(held) if self._state == "thinking" else TextPart(held)]


def _partial_tag_length(text: str) -> int:
    """Return how many characters at the end of `text` may begin a closing tag."""
    for length in range(min(len(_CLOSE) - 1, len(text)), 0, -1):
        if _CLOSE.startswith(text[-length:]):
            return length
    return 0


class ChatChunks:
    """Decodes the stream of `POST /chat/completions`.

    Source: https://platform.openai.com/docs/api-reference/chat-streaming, and the variants of other servers:
    `reasoning_content` (DeepSeek, vLLM), `reasoning` (Ollama, OpenRouter), `<think>` tags, calls without an index.
    """

    def __init__(self) -> None:
        self._lines = SSELines()
        self._tags = ThinkTags()
        self._calls: list[str] = []
        self.done = False

    def feed(self, data: bytes) -> list[Part]:
        """Return the parts in `data`.

        Raises:
            ModelUnavailable: invalid JSON, or an error object that allows a retry.
            ModelError: any other error object.
        """
        return self._read(self._lines.feed(data))

    def end(self) -> list[Part]:
        """Return the parts of an unterminated last line. Raises as `feed` does."""
        return self._read(self._lines.end())

    def _read(self, payloads: Iterator[bytes]) -> list[Part]:
        parts: list[Part] = []
        for payload in payloads:
            if payload == b"[DONE]":
                self.done = True
            elif payload:
                self._chunk(payload, parts)
        return parts

    def _chunk(self, payload: bytes, parts: list[Part]) -> None:
        try:
            chunk = orjson.loads(payload)
            if error := chunk.get("error"):
                raise error_in_stream(error)
            if choices := chunk.get("choices"):
                self._choice(choices[0], parts)
            if usage := chunk.get("usage"):
                parts.append(_usage(usage))
        except (ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
            raise ModelUnavailable("The model's stream has an invalid chunk.", code="model_bad_stream") from error

    def _choice(self, choice: dict[str, Any], parts: list[Part]) -> None:
        delta = choice.get("delta") or choice.get("message") or {}
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            parts.append(ReasoningPart(_text(thought)))
        if text := delta.get("content"):
            parts.extend(self._tags.feed(_text(text)))
        if calls := delta.get("tool_calls"):
            parts.extend(self._tags.end())
            parts.extend(self._call(call) for call in calls)
        if reason := choice.get("finish_reason"):
            if reason == "error":
                raise error_in_stream(choice.get("error") or {})
            parts.extend(self._tags.end())
            parts.append(EndPart(_FINISH_REASONS.get(reason, reason)))

    def _call(self, call: dict[str, Any]) -> ToolCallPart:
        function = call.get("function") or {}
        identity = call.get("id") or ""
        position = call.get("index")
        if position is None and identity and identity in self._calls:  # repeated with every piece
            position = self._calls.index(identity)
        elif position is None or not 0 <= position <= len(self._calls):
            position = len(self._calls) if identity or function.get("name") else max(len(self._calls) - 1, 0)
        elif position < len(self._calls) and identity and identity != self._calls[position]:
            position = len(self._calls)  # some servers number every call 0
        if position == len(self._calls):
            self._calls.append(identity)
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):  # Ollama's older versions send an object
            arguments = orjson.dumps(arguments).decode()
        return ToolCallPart(position, _text(identity), _text(function.get("name") or ""), _text(arguments))


def _text(value: Any) -> str:
    """Return text without NUL, which databases reject; also from a list of parts, as Mistral sends it."""
    if isinstance(value, list):
        value = "".join(part.get("text") or "" for part in value)
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value.replace("\x00", "") if "\x00" in value else value


def error_in_stream(error: Any) -> ModelError:
    """Return the exception for an error object in place of a chunk."""
    detail = error if isinstance(error, dict) else {"message": str(error)}
    message = str(detail.get("message") or "no reason stated")
    code = str(detail.get("code") or detail.get("type") or "")
    permanent = (code.startswith("4") and code not in ("408", "409", "429")) or "invalid_request" in code
    kind = ModelError if permanent else ModelUnavailable
    return kind(f"The model's server ended the stream with an error: {message}")


def _usage(usage: dict[str, Any]) -> UsagePart:
    details = usage.get("completion_tokens_details") or {}
    prompt_details = usage.get("prompt_tokens_details") or {}
    return UsagePart(
        input_tokens=tokens(usage.get("prompt_tokens")),
        output_tokens=tokens(usage.get("completion_tokens")),
        reasoning_tokens=tokens(details.get("reasoning_tokens")),
        cached_tokens=tokens(prompt_details.get("cached_tokens")),
    )

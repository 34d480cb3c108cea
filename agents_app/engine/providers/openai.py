"""Models with OpenAI's chat completions API, on any server.

The official SDK makes the request: authentication, addresses, typed errors. This package decodes the raw stream,
because the SDK's own decoding costs four times as much for each token (DESIGN, decision 9).
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai

from agents_app.engine.providers import errors, shared_client
from agents_app.engine.providers.base import ModelRequest, Part
from agents_app.engine.providers.openai_stream import ChatChunks
from agents_app.engine.spec import Message, ModelSpec
from agents_app.engine.tls import ssl_context
from agents_app.exceptions import ModelError


def prepare() -> None:
    """Do now what the SDK defers to the first request, where it would block the event loop for half a second."""
    ssl_context()


class OpenAIModel(shared_client.SharedModel):
    """A server of models, and the connections to it."""

    _connection_error = openai.APIConnectionError

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._official = httpx2.URL(spec.base_url).host == "api.openai.com"
        self._client = openai.AsyncOpenAI(
            base_url=spec.base_url,
            api_key=spec.api_key or "none",
            default_headers=dict(spec.headers) | {"Accept-Encoding": "identity"},
            max_retries=0,
            timeout=shared_client.TIMEOUT,
            http_client=shared_client.http_client(openai.DefaultAioHttpClient),
        )
        self._create = self._client.chat.completions.with_streaming_response.create

    async def stream(self, request: ModelRequest) -> AsyncIterator[list[Part]]:
        """See `Model.stream`."""
        chunks = ChatChunks()
        async with contextlib.AsyncExitStack() as stack:
            with (
                errors.without_secrets(self._secrets),
                errors.translated_errors(openai, openai.OpenAIError, _status_error),
            ):
                response = await self._open(stack, self._arguments(request))
                shared_client.require_stream(response.headers.get("content-type", ""))
                async for data in shared_client.reads(response.http_response):
                    if parts := chunks.feed(data):
                        yield parts
                    if chunks.done:
                        return
                if parts := chunks.end():
                    yield parts

    def _arguments(self, request: ModelRequest) -> dict[str, Any]:
        parameters = request.parameters
        arguments: dict[str, Any] = {
            "model": request.model,
            "messages": _wire_messages(request),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.tools:
            arguments["tools"] = [
                {
                    "type": "function",
                    "function": {"name": t.name, "description": t.description, "parameters": t.parameters},
                }
                for t in request.tools
            ]
        if parameters.temperature is not None:
            arguments["temperature"] = parameters.temperature
        if parameters.top_p is not None:
            arguments["top_p"] = parameters.top_p
        if parameters.max_tokens is not None:
            # OpenAI's newer models reject max_tokens; most other servers know only that.
            arguments["max_completion_tokens" if self._official else "max_tokens"] = parameters.max_tokens
        if parameters.reasoning_effort:
            arguments["reasoning_effort"] = parameters.reasoning_effort
        if parameters.stop:
            arguments["stop"] = list(parameters.stop)
        if parameters.response_format:
            arguments["response_format"] = parameters.response_format
        return arguments


def _wire_messages(request: ModelRequest) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if request.system_prompt:
        messages.append({"role": "system", "content": request.system_prompt})
    messages.extend(_wire_message(message) for message in request.messages)
    return messages


def _wire_message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    if message.tool_calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        return {"role": "assistant", "content": message.content or None, "tool_calls": calls}
    return {"role": message.role, "content": message.content}


def _status_error(error: openai.APIStatusError) -> ModelError:
    status, message = error.status_code, errors.reason(error.body)
    body = error.body if isinstance(error.body, dict) else {}
    code = str(body.get("code") or body.get("type") or "")
    if status in (401, 403):
        return errors.key_refused()
    if "context" in code or (status in (400, 413, 422) and "context" in message.lower()):
        return errors.too_long(message)
    if code != "insufficient_quota" and (status in errors.RETRYABLE or status >= 500):
        return errors.unavailable(status, message, error.response.headers)
    return errors.refused(status, message)

"""Models behind OpenAI's chat completions API, of whichever server.

The official SDK makes the request: authentication, addresses, typed errors. We decode the raw stream ourselves,
because the SDK's own decoding costs four times as much for each token (DESIGN, decision 9).
"""

import asyncio
import contextlib
import datetime
import email.utils
import functools
import logging
import math
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import aiohttp
import httpx2
import openai

from agents_app.engine.models.base import ModelRequest, Part
from agents_app.engine.models.decoding import ChatChunks
from agents_app.engine.spec import Message, ModelSpec
from agents_app.exceptions import ModelError, ModelUnavailable

logger = logging.getLogger(__name__)

_TIMEOUT = httpx2.Timeout(connect=10.0, read=180.0, write=30.0, pool=30.0)
_LIMITS = httpx2.Limits(max_connections=4000, max_keepalive_connections=200, keepalive_expiry=30.0)
_RETRYABLE = {408, 409, 429}
# Building a request keeps the loop for 1.6 ms: more than a few at once would stall the tokens of all others.
_STARTS_AT_ONCE = 8
_LONGEST_REASON = 400
_SHORTEST_SECRET = 6  # below, it is a placeholder such as "none", and may be a word of the message


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """One for all clients: reading the certificate authorities takes 20 ms."""
    return httpx2.create_ssl_context()


def prepare() -> None:
    """Do now what the SDK puts off until the first request: it would keep the event loop for half a second."""

    _ssl_context()


class OpenAIModel:
    """One server of models, and the connections to it."""

    _shared: ClassVar[dict[tuple[Any, ...], "OpenAIModel"]] = {}

    def __init__(self, spec: ModelSpec) -> None:
        sent = [spec.api_key, *dict(spec.headers).values()]
        self._secrets = [secret for secret in sent if len(secret) >= _SHORTEST_SECRET]
        self._official = httpx2.URL(spec.base_url).host == "api.openai.com"
        self._client = openai.AsyncOpenAI(
            base_url=spec.base_url,
            api_key=spec.api_key or "none",
            default_headers=dict(spec.headers) | {"Accept-Encoding": "identity"},
            max_retries=0,
            timeout=_TIMEOUT,
            http_client=openai.DefaultAioHttpClient(limits=_LIMITS, timeout=_TIMEOUT, verify=_ssl_context()),
        )
        self._starts = asyncio.Semaphore(_STARTS_AT_ONCE)

    @classmethod
    def shared(cls, spec: ModelSpec) -> "OpenAIModel":
        """The model for `spec`, made once for each server, key and event loop: a client costs 25 ms."""
        key = (spec.base_url, spec.api_key, spec.headers, id(asyncio.get_running_loop()))
        if key not in cls._shared:
            cls._shared[key] = cls(spec)
        return cls._shared[key]

    @classmethod
    async def close_all(cls) -> None:
        """Close the connections of every model of this process."""
        models = list(cls._shared.values())
        cls._shared.clear()
        for model in models:
            await model._client.close()

    async def stream(self, request: ModelRequest) -> AsyncIterator[list[Part]]:
        """See `Model.stream`."""
        chunks = ChatChunks()
        async with contextlib.AsyncExitStack() as stack:
            with _without_secrets(self._secrets), _translated_errors():
                response = await self._open(stack, self._arguments(request))
                _require_stream(response.headers.get("content-type", ""))
                async for data in _reads(response.http_response):
                    if parts := chunks.feed(data):
                        yield parts
                    if chunks.done:
                        return
                if parts := chunks.end():
                    yield parts

    async def _open(self, stack: contextlib.AsyncExitStack, arguments: dict[str, Any]) -> Any:
        create = self._client.chat.completions.with_streaming_response.create
        async with self._starts:
            try:
                return await stack.enter_async_context(create(**arguments))
            except openai.APIConnectionError as error:
                if not _was_disconnected(error):
                    raise
                # Most likely an idle connection that the server closed just now: not worth a visible retry.
                return await stack.enter_async_context(create(**arguments))

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
            # OpenAI's newer models refuse max_tokens; most other servers know nothing else.
            arguments["max_completion_tokens" if self._official else "max_tokens"] = parameters.max_tokens
        if parameters.reasoning_effort:
            arguments["reasoning_effort"] = parameters.reasoning_effort
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


def _require_stream(content_type: str) -> None:
    if content_type.startswith("text/html"):
        raise ModelError(
            "The model's server answered with a web page: is the provider's base_url right?",
            code="model_bad_answer",
        )


def _reads(response: httpx2.Response) -> AsyncIterator[bytes]:
    """What each read of the socket brings: from aiohttp's own reader where it can be had, at two thirds the cost."""
    reader = getattr(getattr(getattr(response, "stream", None), "_stream", None), "_aiohttp_response", None)
    if reader is not None and not response.headers.get("content-encoding"):
        return reader.content.iter_any()
    return response.aiter_bytes()


@contextlib.contextmanager
def _without_secrets(secrets: list[str]) -> Iterator[None]:
    """What a server says of our request may repeat our key, and go on for pages: both stop here."""
    try:
        yield
    except ModelError as error:
        text = str(error)
        for secret in secrets:
            text = text.replace(secret, "***")
        text, _, traceback = text.partition("Traceback (most recent call last)")
        text = " ".join(text.split())[:_LONGEST_REASON]
        text = text.rstrip(" :") if traceback else text
        error.args = (text if text.endswith((".", "?", "!")) else f"{text}.",)
        raise


@contextlib.contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except openai.APIStatusError as error:
        raise _status_error(error) from error
    except (openai.APITimeoutError, httpx2.TimeoutException, TimeoutError) as error:
        if _was_disconnected(error) or isinstance(error.__cause__, httpx2.ConnectError):
            raise _unreachable() from error
        raise ModelUnavailable("The model's server did not answer in time.", code="model_timeout") from error
    except (openai.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
        raise _unreachable() from error
    except openai.OpenAIError as error:
        logger.warning("The model's client refused a request: %r", error)
        raise ModelError("The request to the model could not be made.") from error


def _unreachable() -> ModelUnavailable:
    return ModelUnavailable("The connection to the model's server failed.", code="model_unreachable")


def _was_disconnected(error: BaseException | None) -> bool:
    """Whether the server hung up: the SDK's aiohttp transport reports that as a time-out."""
    while error is not None:
        if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | ConnectionError):
            return True
        error = error.__cause__
    return False


def _status_error(error: openai.APIStatusError) -> ModelError:
    status, message = error.status_code, _message(error.body)
    body = error.body if isinstance(error.body, dict) else {}
    reason = str(body.get("code") or body.get("type") or "")
    if status in (401, 403):
        return ModelError("The model's server refused the API key.", code="model_key_refused")
    if "context" in reason or (status in (400, 413, 422) and "context" in message.lower()):
        return ModelError(f"The conversation is too long for the model: {message}", code="context_length_exceeded")
    if reason != "insufficient_quota" and (status in _RETRYABLE or status >= 500):
        return ModelUnavailable(
            f"The model's server answered {status}: {message}",
            code="model_rate_limited" if status == 429 else "model_unavailable",
            retry_after=_retry_after(error.response.headers),
        )
    return ModelError(f"The model's server refused the request ({status}): {message}", code="model_refused")


def _message(body: object) -> str:
    """The server's reason, in whichever of the usual places it is. A proxy's web page is none."""
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail")
    if isinstance(body, str) and body.strip() and not body.lstrip().startswith("<"):
        return body
    return "no reason given"


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds, from `retry-after-ms` or `retry-after`, which is a number or a date."""
    try:
        if value := headers.get("retry-after-ms"):
            seconds = float(value) / 1000
        else:
            seconds = _seconds(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _seconds(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        at = email.utils.parsedate_to_datetime(value)
        return (at.replace(tzinfo=at.tzinfo or datetime.UTC) - datetime.datetime.now(datetime.UTC)).total_seconds()

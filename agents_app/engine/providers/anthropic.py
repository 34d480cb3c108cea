"""Models behind Anthropic's Messages API.

As with OpenAI's: the official SDK makes the request, and we decode the raw stream (DESIGN, decision 9).
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import orjson

from agents_app.engine.providers import anthropic_request, errors, shared_client
from agents_app.engine.providers.anthropic_stream import MessageEvents
from agents_app.engine.providers.anthropic_thinking import Abilities, abilities
from agents_app.engine.providers.base import ModelRequest, Part
from agents_app.engine.spec import ModelSpec
from agents_app.engine.tls import ssl_context
from agents_app.exceptions import ModelError

logger = logging.getLogger(__name__)

_NOT_OFFERED = {404, 405, 501}  # a server that does not describe its models
_ASKING_TIME = 10.0  # seconds for a model's description
_ASK_AGAIN = 30.0  # seconds after a try that failed
_TOO_LONG = ("too long", "context limit", "context window", "context length")


class AnthropicModel(shared_client.SharedModel):
    """One server of models, and the connections to it."""

    _connection_error = anthropic.APIConnectionError

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._client = anthropic.AsyncAnthropic(
            base_url=anthropic_request.api_root(spec.base_url),
            api_key=spec.api_key or "none",  # without one, the SDK would look for one in the environment
            default_headers=_headers(spec),
            max_retries=0,
            timeout=shared_client.TIMEOUT,
            open_telemetry=False,
            http_client=anthropic.DefaultAioHttpClient(
                limits=shared_client.LIMITS, timeout=shared_client.TIMEOUT, verify=ssl_context()
            ),
        )
        self._create = self._client.messages.with_streaming_response.create
        self._asking = asyncio.Lock()
        self._abilities: dict[str, tuple[Abilities, float]] = {}  # with the time until which this is settled

    async def stream(self, request: ModelRequest) -> AsyncIterator[list[Part]]:
        """See `Model.stream`."""
        events = MessageEvents(anthropic_request.origin(request.model))
        async with contextlib.AsyncExitStack() as stack:
            with (
                errors.without_secrets(self._secrets),
                errors.translated_errors(anthropic, anthropic.AnthropicError, _status_error),
            ):
                response = await self._ask(stack, request)
                shared_client.require_stream(response.headers.get("content-type", ""))
                async for data in shared_client.reads(response.http_response):
                    if parts := events.feed(data):
                        yield parts
                    if events.done:
                        return
                if parts := events.end():
                    yield parts

    async def _ask(self, stack: contextlib.AsyncExitStack, request: ModelRequest) -> Any:
        able = await self._what_it_takes(request.model)
        try:
            return await self._open(stack, anthropic_request.arguments(request, able))
        except anthropic.BadRequestError as error:
            message = errors.reason(_said(error))
            if "thinking" not in message or not anthropic_request.tells_thoughts(request):
                raise
            # Thoughts are bound to all that came before them, and some of it has changed: a tool, the prompt, or what
            # still fits of the history. The API's advice is to go on without them.
            logger.info("A model does not take back what it thought, and is asked without: %s", message)
            return await self._open(
                stack,
                anthropic_request.arguments(request, able, thoughts=False),
            )

    async def _what_it_takes(self, model: str) -> Abilities:
        """What the model takes, as its server says: asked once, and again where it could not be asked."""
        now = asyncio.get_running_loop().time()
        async with self._asking:
            able, until = self._abilities.get(model, (Abilities(), 0.0))
            if until <= now:
                able, settled = await self._describe(model)
                self._abilities[model] = able, math.inf if settled else now + _ASK_AGAIN
            return able

    async def _describe(self, model: str) -> tuple[Abilities, bool]:
        """What the model takes, and whether that is settled; what is usual where the server does not say."""
        try:
            answer = await self._client.models.with_raw_response.retrieve(model, timeout=_ASKING_TIME)
            return abilities(orjson.loads(await answer.read())), True
        except anthropic.APIStatusError as error:
            return Abilities(), error.status_code in _NOT_OFFERED
        except (anthropic.AnthropicError, ValueError, OSError):
            return Abilities(), False


def _headers(spec: ModelSpec) -> dict[str, Any]:
    """The key where the API documents it, and where every server looks: the SDK alone would send it as a bearer."""
    key = {"x-api-key": spec.api_key} if spec.api_key else {}
    given = {name.lower(): value for name, value in spec.headers}
    return {"authorization": anthropic.omit} | key | given | {"accept-encoding": "identity"}


def _said(error: anthropic.APIStatusError) -> Any:
    """What the server says of an error: in `error`, or, where a proxy answers, in the body itself."""
    inner = error.body.get("error") if isinstance(error.body, dict) else None
    return inner or error.body


def _status_error(error: anthropic.APIStatusError) -> ModelError:
    status, message = error.status_code, errors.reason(_said(error))
    if status in (401, 403):
        return errors.key_refused()
    if status == 413 or (status == 400 and any(words in message.lower() for words in _TOO_LONG)):
        return errors.too_long(message)
    if status in errors.RETRYABLE or status >= 500:
        return errors.unavailable(status, message, error.response.headers)
    return errors.refused(status, message)

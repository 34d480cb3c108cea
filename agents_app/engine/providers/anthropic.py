"""Models with Anthropic's Messages API.

As for OpenAI's: the official SDK makes the request, and this package decodes the raw stream (docs/design.md,
decision 9).
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx2
import orjson
from anthropic.types import RawMessageStreamEvent

from agents_app.engine.providers import accepts, anthropic_request, errors, failures, shared_client
from agents_app.engine.providers.anthropic_stream import MessageEvents
from agents_app.engine.providers.anthropic_thinking import Abilities, abilities
from agents_app.engine.providers.base import ModelRequest, Part
from agents_app.engine.spec import ModelSpec
from agents_app.exceptions import ModelError

logger = logging.getLogger(__name__)

_UNSUPPORTED = {404, 405, 501}  # a server that does not describe its models
_DESCRIBE_TIMEOUT = 10.0  # seconds for a model's description
_RETRY_INTERVAL = 30.0  # seconds after a failure


class AnthropicModel(shared_client.SharedModel):
    """A server of models, and the connections to it."""

    _path = "/v1/messages"
    _stream_class = anthropic.AsyncStream[RawMessageStreamEvent]
    _connection_error = anthropic.APIConnectionError

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._client = anthropic.AsyncAnthropic(
            base_url=anthropic_request.api_root(spec.base_url),
            api_key=spec.api_key or "none",  # else the SDK looks for a key in the environment
            default_headers=_headers(spec),
            max_retries=0,
            timeout=shared_client.TIMEOUT,
            open_telemetry=False,
            http_client=shared_client.http_client(anthropic.DefaultAioHttpClient),
        )
        self._describing = asyncio.Lock()
        self._abilities: dict[str, tuple[Abilities, float]] = {}  # and until when they are valid

    async def stream(self, request: ModelRequest) -> AsyncIterator[list[Part]]:
        """See `Model.stream`."""
        events = MessageEvents(anthropic_request.origin(request.model))
        async with contextlib.AsyncExitStack() as stack:
            with (
                errors.without_secrets(self._secrets),
                errors.translated_errors(anthropic, anthropic.AnthropicError, _status_error),
            ):
                response = await self._send(stack, request)
                request.on_sent()
                shared_client.require_stream(response.headers.get("content-type", ""))
                watch = stack.enter_context(shared_client.Watch(response))
                async for data in watch.reads():
                    watch.reads_so_far += 1
                    if parts := events.feed(data):
                        watch.parts_so_far += 1
                        yield parts
                        if events.error:
                            raise events.error
                        if events.has_end and not events.done:
                            watch.end_soon()
                    if events.done:
                        return
                if parts := events.end():
                    yield parts
                    if events.error:
                        raise events.error

    async def _send(self, stack: contextlib.AsyncExitStack, request: ModelRequest) -> httpx2.Response:
        try:
            return await self._send_thoughts(stack, request)
        except anthropic.APIStatusError as error:
            if kinds := request.native_kinds():
                body = errors.body_of(error.response, error.body)
                if refusal := accepts.refusal(self._spec, request.model, kinds, error.status_code, body):
                    raise refusal from error
            raise

    async def _send_thoughts(self, stack: contextlib.AsyncExitStack, request: ModelRequest) -> httpx2.Response:
        able = await self._model_abilities(request.model)
        try:
            return await self._open_turn(stack, request, able, thoughts=True)
        except anthropic.BadRequestError as error:
            message = failures.parse(errors.body_of(error.response, error.body)).reason
            if "thinking" not in message or not anthropic_request.has_thoughts(request):
                raise
            # Thoughts are signed together with all that precedes them, and some of that changed: a tool, the prompt, or
            # the part of the history that fits. The API recommends to continue without them.
            logger.info("A model rejects its earlier thoughts; retrying without them: %s", message)
            return await self._open_turn(stack, request, able, thoughts=False)

    async def _open_turn(
        self, stack: contextlib.AsyncExitStack, request: ModelRequest, able: Abilities, *, thoughts: bool
    ) -> httpx2.Response:
        body, headers = anthropic_request.body(request, able, thoughts=thoughts)
        return await self._open(stack, body, headers)

    async def _model_abilities(self, model: str) -> Abilities:
        """Return the model's abilities. Its server is asked once, and again after a failure."""
        now = asyncio.get_running_loop().time()
        async with self._describing:
            able, until = self._abilities.get(model, (Abilities(), 0.0))
            if until <= now:
                able, is_final = await self._describe(model)
                self._abilities[model] = able, math.inf if is_final else now + _RETRY_INTERVAL
            return able

    async def _describe(self, model: str) -> tuple[Abilities, bool]:
        """Return the model's abilities, or the usual ones if the server does not say, and whether that is final."""
        try:
            response = await self._client.models.with_raw_response.retrieve(model, timeout=_DESCRIBE_TIMEOUT)
            return abilities(orjson.loads(await response.read())), True
        except anthropic.APIStatusError as error:
            return Abilities(), error.status_code in _UNSUPPORTED
        except (anthropic.AnthropicError, ValueError, OSError):
            return Abilities(), False


def _headers(spec: ModelSpec) -> dict[str, Any]:
    """Return headers with the key where the API documents it; the SDK alone would send it as a bearer token."""
    key = {"x-api-key": spec.api_key} if spec.api_key else {}
    configured = {name.lower(): value for name, value in spec.headers}
    return {"authorization": anthropic.omit} | key | configured | {"accept-encoding": "identity"}


def _status_error(error: anthropic.APIStatusError) -> ModelError:
    return errors.of_response(error.response, error.body)

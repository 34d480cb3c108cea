"""Models with OpenAI's chat completions API, on any server.

The official SDK makes the request: authentication, addresses, typed errors. This package decodes the raw stream,
because the SDK's own decoding costs four times as much for each token (DESIGN, decision 9).
"""

import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpx2
import openai
from openai.types.chat import ChatCompletionChunk

from agents_app.engine.providers import (
    accepts,
    errors,
    openai_files,
    request_body,
    request_fields,
    sent_back,
    shared_client,
)
from agents_app.engine.providers.base import ModelRequest, Part
from agents_app.engine.providers.openai_stream import ChatChunks
from agents_app.engine.spec import Message, ModelSpec, Parameters
from agents_app.engine.tls import ssl_context
from agents_app.exceptions import ModelError

logger = logging.getLogger(__name__)


def prepare() -> None:
    """Do now what the SDK defers to the first request, where it would block the event loop for half a second."""
    ssl_context()


class OpenAIModel(shared_client.SharedModel):
    """A server of models, and the connections to it."""

    _path = "/chat/completions"
    _stream_class = openai.AsyncStream[ChatCompletionChunk]
    _connection_error = openai.APIConnectionError

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._origin = sent_back.origin(spec.kind, spec.base_url)
        self._has_list = spec.kind == "openai"
        self._refused: dict[str, frozenset[str]] = {}  # fields of the request, by model
        self._official = httpx2.URL(spec.base_url).host == "api.openai.com"
        self._client = openai.AsyncOpenAI(
            base_url=spec.base_url,
            api_key=spec.api_key or "none",
            default_headers=dict(spec.headers) | {"Accept-Encoding": "identity"},
            max_retries=0,
            timeout=shared_client.TIMEOUT,
            http_client=shared_client.http_client(openai.DefaultAioHttpClient),
        )

    async def stream(self, request: ModelRequest) -> AsyncIterator[list[Part]]:
        """See `Model.stream`."""
        chunks = ChatChunks(self._origin)
        async with contextlib.AsyncExitStack() as stack:
            with (
                errors.without_secrets(self._secrets),
                errors.translated_errors(openai, openai.OpenAIError, _status_error),
            ):
                response = await self._send(stack, request)
                request.on_sent()
                if self._has_list:
                    self._learn_window(request.model)
                shared_client.require_stream(response.headers.get("content-type", ""))
                watch = stack.enter_context(shared_client.Watch(response))
                async for data in watch.reads():
                    watch.reads_so_far += 1
                    if parts := chunks.feed(data):
                        watch.parts_so_far += 1
                        yield parts
                        if chunks.error:
                            raise chunks.error
                        if chunks.has_end and not chunks.done:
                            watch.end_soon()
                    if chunks.done:
                        return
                if parts := chunks.end():
                    yield parts
                    if chunks.error:
                        raise chunks.error

    async def _send(self, stack: contextlib.AsyncExitStack, request: ModelRequest) -> httpx2.Response:
        """Send the request, again without what this model's server does not know, and remember that."""
        refused = self._refused.get(request.model, frozenset())
        while True:
            arguments = self._arguments(request, refused)
            origin = "" if request_fields.SENT_BACK in refused else self._origin
            try:
                response = await self._open(stack, _body(arguments, request, origin))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                messages = [_wire_message(message, origin) for message in request.messages]
                body = errors.body_of(error.response, error.body)
                field = request_fields.refused_field(body, arguments | {"messages": messages})
                if field is None or field in refused:
                    self._raise_refusal(request, error)
                    raise
                logger.info("A model's server refuses the field %s; asking again without it", field)
                refused |= {field}
            except openai.APIStatusError as error:
                self._raise_refusal(request, error)
                raise
            else:
                self._refused[request.model] = refused
                return response

    def _raise_refusal(self, request: ModelRequest, error: openai.APIStatusError) -> None:
        """Raise what the error is, if it is about the files of the request."""
        if kinds := request.native_kinds():
            body = errors.body_of(error.response, error.body)
            if refusal := accepts.refusal(self._spec, request.model, kinds, error.status_code, body):
                raise refusal from error

    def _arguments(self, request: ModelRequest, refused: frozenset[str]) -> dict[str, Any]:
        parameters = request.parameters
        arguments: dict[str, Any] = {
            "model": request.model,
            "stream": True,
        }
        if "stream_options" not in refused:
            arguments["stream_options"] = {"include_usage": True}
        if request.tools:
            arguments["tools"] = [
                {
                    "type": "function",
                    "function": {"name": t.name, "description": t.description, "parameters": t.parameters},
                }
                for t in request.tools
            ]
            arguments |= _choice(parameters, refused)
        if parameters.temperature is not None:
            arguments["temperature"] = parameters.temperature
        if parameters.top_p is not None:
            arguments["top_p"] = parameters.top_p
        if parameters.max_tokens is not None:
            arguments[request_fields.limit_name(refused, is_official=self._official)] = parameters.max_tokens
        if parameters.reasoning_effort:
            arguments["reasoning_effort"] = parameters.reasoning_effort
        if parameters.stop:
            arguments["stop"] = list(parameters.stop)
        if parameters.response_format:
            arguments["response_format"] = parameters.response_format
        return arguments


def _choice(parameters: Parameters, refused: frozenset[str]) -> dict[str, Any]:
    """Return the fields that say which tools to call. The loop limits the calls of a turn anyway."""
    fields: dict[str, Any] = {}
    if (choice := parameters.tool_choice) is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        fields["tool_choice"] = named if choice.name else "required"
    if not parameters.parallel_tool_calls and request_fields.PARALLEL not in refused:
        fields[request_fields.PARALLEL] = False
    return fields


def encode_messages(spec: ModelSpec, messages: Iterable[Message]) -> None:
    """Encode messages for a server, before a request needs them."""
    origin = sent_back.origin(spec.kind, spec.base_url)
    for message in messages:
        if not message.parts:  # how its files are given is known only with the request
            _encoded_message(message, origin)


def _body(arguments: dict[str, Any], request: ModelRequest, origin: str) -> bytes | request_body.Body:
    if not request.files:
        return request_body.with_messages(arguments, _encoded(request, origin))
    return request_body.body(request_body.with_message_pieces(arguments, _encoded_pieces(request, origin)))


def _encoded_pieces(request: ModelRequest, origin: str) -> Iterator[list[bytes]]:
    """Encode the messages of a request with files, each in pieces."""
    if request.system_prompt:
        yield [request_body.encode({"role": "system", "content": request.system_prompt})]
    for message in openai_files.with_files(request):
        if isinstance(message, dict):
            yield request_body.encode_around(message)
        elif _says_something(message):
            yield [_encoded_message(message, origin)]


def _encoded(request: ModelRequest, origin: str) -> Iterator[bytes]:
    if request.system_prompt:
        yield request_body.encode({"role": "system", "content": request.system_prompt})
    for message in request.messages:
        if _says_something(message):
            yield _encoded_message(message, origin)


def _encoded_message(message: Message, origin: str) -> bytes:
    api = f"openai {origin if message.origin == origin else ''}"
    return request_body.encoded(message, api, functools.partial(_wire_message, origin=origin))


def _says_something(message: Message) -> bool:
    """Whether it is no empty message of the assistant, which servers reject."""
    return message.role != "assistant" or bool(message.tool_calls or message.content.strip())


def _wire_message(message: Message, origin: str) -> dict[str, Any]:
    """Return the message with the fields that this server attached to it."""
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    is_own = bool(message.origin) and message.origin == origin
    fields = message.fields if is_own else {}
    if message.tool_calls:
        calls = [
            (call.fields if is_own else {})
            | {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        return fields | {"role": "assistant", "content": message.content or None, "tool_calls": calls}
    return fields | {"role": message.role, "content": message.content}


def _status_error(error: openai.APIStatusError) -> ModelError:
    return errors.of_response(error.response, error.body)

"""POST /v1/chat/completions: an agent as a model. Stateless unless the request names a session."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import orjson
from django.http import HttpResponseBase, JsonResponse
from rest_framework.request import Request

from agents_app.access.callers import of_drf_request
from agents_app.api import sse
from agents_app.api.sse import PING
from agents_app.api.streams import give_thread_back, stream
from agents_app.event_log import Event
from agents_app.exceptions import AgentError, AuthenticationExpired
from agents_app.models import Step
from chat_app.openai_api import continuing, parameters, segments, starting, tools
from chat_app.openai_api.conversation import of_chat, results_at_end
from chat_app.openai_api.endpoint import RunNotCompleted, add_run_headers, database, endpoint, failure
from chat_app.openai_api.listening import RunFollower, incomplete_reason
from chat_app.openai_api.requests import ChatCompletionRequest
from chat_app.openai_api.segments import ClientCall, Segment
from chat_app.openai_api.starting import RunRequest
from chat_app.openai_api.text_stream import ANSWER, THOUGHT, TextStream
from chat_app.openai_api.validation import MISSING, parse, refuse

DONE = sse.event(b"[DONE]")
_FIELDS = {ANSWER: "content", THOUGHT: "reasoning_content"}


async def create(request: Request) -> HttpResponseBase:
    """Start a run and return its answer, whole or as a stream."""
    body, run_request, segment, place = await starting.begin(request, _read)
    follower = RunFollower(segment, of_drf_request(request), cancel_on_disconnect=run_request.ephemeral)
    await give_thread_back()
    if not body.stream:
        run = await follower.wait()
        whole = await database.run(_completion, dataclasses.replace(segment, run=run))
        return add_run_headers(JsonResponse(whole), run, request.user)
    opening, rest = await follower.opening()
    run = segment.run
    chunks = Chunks(segment, with_usage=bool(body.stream_options and body.stream_options.include_usage))
    return add_run_headers(stream(_stream(follower, chunks, opening, rest), place), run, request.user)


completions = endpoint(post=create)


def _read(request: Request) -> tuple[ChatCompletionRequest, RunRequest]:
    if isinstance(request.data, dict) and "input" in request.data and not request.data.get("messages"):
        refuse("messages", "is missing: a request with 'input' belongs to /v1/responses.", MISSING)
    body = parse(ChatCompletionRequest, request.data)
    return body.model_copy(update={"messages": []}), _run_request(request, body)


def _run_request(request: Request, body: ChatCompletionRequest) -> RunRequest:
    """Return the run that the request asks for.

    Raises:
        InvalidRequest: it names the field that is wrong.
    """
    if body.stream_options is not None and not body.stream:
        refuse("stream_options", "is only allowed together with 'stream'.")
    offered = tools.of_request(body, nested=True)
    session_id = starting.session_of(request, body.metadata.session_id if body.metadata else None)
    options = parameters.of_chat(body)
    session = starting.existing_session(request.user, session_id)
    if results := results_at_end(body.messages):
        within = (session.pk if session else "") if session_id else None
        if going_on := continuing.find(request.user, results, field="messages", session_id=within):
            head = of_chat(body.messages[: -len(results)])
            return starting.continuation_request(body.model, going_on, head, offered, parameters=options)
    conversation = of_chat(body.messages)
    prompt = conversation.take_prompt()
    continuing.require_results(session, "messages")
    overrides = starting.overrides_of(
        conversation, offered, only_new=bool(session_id), can_return=bool(session_id), parameters=options
    )
    return RunRequest(
        model=body.model,
        prompt=prompt,
        session_id=session_id,
        overrides=overrides,
        keeps_files=bool(session_id),
        abandoned=[] if session_id else continuing.abandoned(request.user, conversation.call_ids()),
    )


# The answer as a whole


def _completion(segment: Segment) -> dict[str, Any]:
    content, run = segments.read(segment), segment.run
    thoughts = [step.content for step in content.steps if step.kind == Step.Kind.THOUGHT]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": (content.text or None) if content.calls else run.result,
        "refusal": None,
        "annotations": [],
    }
    if content.calls:
        message["tool_calls"] = [_call(call) for call in content.calls]
    if thoughts:
        message["reasoning_content"] = "\n\n".join(thoughts)
    reason = "tool_calls" if content.calls else incomplete_reason(run) or "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return _head(segment, "chat.completion") | {"choices": [choice], "usage": _usage(content.usage)}


def _call(call: ClientCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _head(segment: Segment, kind: str) -> dict[str, Any]:
    run = segment.run
    return {
        "id": f"chatcmpl-{run.pk.hex}" + (f"-{segment.after}" if segment.after else ""),
        "object": kind,
        "created": int(run.created_at.timestamp()),
        "model": run.agent_name,
        "system_fingerprint": None,
    }


def _usage(usage: dict[str, int]) -> dict[str, Any]:
    prompt, completion = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.get("cached_tokens", 0)},
        "completion_tokens_details": {"reasoning_tokens": usage.get("reasoning_tokens", 0)},
    }


# The answer as a stream


class Chunks:
    """The chunks of one answer. All begin and end alike, so these parts are encoded once."""

    def __init__(self, segment: Segment, *, with_usage: bool) -> None:
        self.segment = segment
        self._whole = _head(segment, "chat.completion.chunk")
        self._with_usage = with_usage
        self._begin = orjson.dumps(self._whole)[:-1] + b',"choices":[{"index":0,"delta":'
        self._end = b"}]" + (b',"usage":null' if with_usage else b"") + b"}"

    def delta(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        end = b',"logprobs":null,"finish_reason":' + orjson.dumps(reason) + self._end
        return sse.event(self._begin + orjson.dumps(delta) + end)

    def calls(self, calls: list[ClientCall]) -> bytes:
        """Return the chunks of the client's calls: of each its id and name, then its arguments."""
        pieces: list[dict[str, Any]] = []
        for index, call in enumerate(calls):
            begin = _call(call)
            begin["function"] = begin["function"] | {"arguments": ""}
            pieces += [{"index": index} | begin, {"index": index, "function": {"arguments": call.arguments}}]
        return b"".join(self.delta({"tool_calls": [piece]}) for piece in pieces)

    def usage(self, usage: dict[str, int]) -> bytes:
        """Return the usage chunk; nothing if the client did not ask for it."""
        return _event(self._whole | {"choices": [], "usage": _usage(usage)}) if self._with_usage else b""


def _event(value: Any) -> bytes:
    return sse.event(orjson.dumps(value))


async def _stream(
    follower: RunFollower, chunks: Chunks, opening: list[Event], rest: AsyncIterator[list[Event]]
) -> AsyncIterator[bytes]:
    """Yield the chunks of the run. An error from now on is a part of the stream."""
    await give_thread_back()
    text = TextStream()
    yield chunks.delta({"role": "assistant", "content": ""}) + _deltas(chunks, text, opening)
    try:
        async with contextlib.aclosing(rest):  # type: ignore[type-var]
            async for events in rest:
                yield _deltas(chunks, text, events) if events else PING
        run = await follower.finished()
        content = await database.run(segments.read, dataclasses.replace(chunks.segment, run=run))
    except RunNotCompleted as error:
        yield _event({"error": failure(error.run)}) + DONE
    except AgentError as error:
        kind = "authentication_error" if isinstance(error, AuthenticationExpired) else "server_error"
        yield _event({"error": {"message": str(error), "type": kind, "param": None, "code": error.code}}) + DONE
    else:
        reason = "tool_calls" if content.calls else incomplete_reason(run) or "stop"
        yield chunks.calls(content.calls) + chunks.delta({}, reason) + chunks.usage(content.usage) + DONE


def _deltas(chunks: Chunks, text: TextStream, events: list[Event]) -> bytes:
    pieces = (piece for event in events for piece in text.feed(event))
    return b"".join(chunks.delta({_FIELDS[kind]: piece}) for kind, piece in pieces)

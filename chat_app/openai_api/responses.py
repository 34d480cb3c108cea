"""/v1/responses: the same runs as the Responses API. A client can disconnect from a stream and resume it later."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

from django.http import HttpResponseBase, JsonResponse
from rest_framework.request import Request

from agents_app import runs
from agents_app.access import open_connections
from agents_app.access.callers import of_drf_request
from agents_app.api.sse import PING
from agents_app.api.streams import give_thread_back, stream
from agents_app.database.errors import storage_errors
from agents_app.event_log import Event
from agents_app.exceptions import AgentError
from agents_app.models import Run
from chat_app.openai_api import continuing, parameters, segments, starting, tools
from chat_app.openai_api.conversation import Conversation, of_responses, of_text, outputs_at_end
from chat_app.openai_api.endpoint import add_run_headers, caller, database, endpoint
from chat_app.openai_api.listening import RunFollower, reload
from chat_app.openai_api.requests import ConversationReference, ResponseRequest
from chat_app.openai_api.response_events import ResponseEvents
from chat_app.openai_api.response_object import response, segment_of
from chat_app.openai_api.segments import Segment
from chat_app.openai_api.sequence_number import SequenceNumber
from chat_app.openai_api.starting import RunRequest
from chat_app.openai_api.validation import MISSING, WRONG_TYPE, parse, refuse

_CANCEL_TIMEOUT = 2.0  # seconds that a cancel waits for the run to end
_LARGEST_NUMBER = 2**62
_DEFAULTS: dict[str, Any] = {"background": False, "store": True, "previous_response_id": "", "metadata": {}}


async def create(request: Request) -> HttpResponseBase:
    """Start a run and return its response: whole, as a stream, or, in the background, as it is now."""
    body, run_request, segment, place = await starting.begin(request, _read)
    ephemeral = run_request.ephemeral and body.store is False and not body.background
    follower = RunFollower(segment, of_drf_request(request), cancel_on_disconnect=ephemeral)
    await give_thread_back()
    if body.stream:
        opening, rest = await follower.opening()
        answer = stream(_stream(follower, ResponseEvents(segment, request.user), opening, rest), place)
        return add_run_headers(answer, segment.run, request.user)
    if not body.background:
        segment = dataclasses.replace(segment, run=await follower.wait())
    whole = await database.run(_describe, segment, request.user)
    return add_run_headers(JsonResponse(whole), segment.run, request.user)


async def retrieve(request: Request, identifier: str) -> HttpResponseBase:
    """Return the response as it is now, or its stream from the beginning or after a sequence number."""
    segment = await database.run(_get, request, identifier)
    if _flag(request, "stream") and request.method == "GET":
        place = open_connections.take(request.user)
        await give_thread_back()
        follower = RunFollower(segment, of_drf_request(request))
        events = _stream(follower, ResponseEvents(segment, request.user, _cursor(request)), [], follower.events())
        return add_run_headers(stream(events, place), segment.run, request.user)
    whole = await database.run(_describe, segment, request.user)
    return add_run_headers(JsonResponse(whole), segment.run, request.user)


async def cancel(request: Request, identifier: str) -> HttpResponseBase:
    """Cancel the run. A run that has ended stays as it is."""
    segment = await database.run(_get, request, identifier)
    await database.run(runs.cancel, segment.run, by=request.user.get_username())
    await give_thread_back()
    with contextlib.suppress(TimeoutError, AgentError):  # the response has the status
        async with asyncio.timeout(_CANCEL_TIMEOUT):
            await RunFollower(segment, of_drf_request(request)).wait()
    segment = dataclasses.replace(segment, run=await database.run(reload, segment.run))
    whole = await database.run(_describe, segment, request.user)
    return add_run_headers(JsonResponse(whole), segment.run, request.user)


collection = endpoint(post=create)
one = endpoint(get=retrieve)
cancelling = endpoint(post=cancel)


# Requests


def _read(request: Request) -> tuple[ResponseRequest, RunRequest]:
    if isinstance(request.data, dict) and "messages" in request.data and not request.data.get("input"):
        refuse("input", "is missing: a request with 'messages' belongs to /v1/chat/completions.", MISSING)
    body = parse(ResponseRequest, request.data)
    run_request = _run_request(request, body, request.user)
    run_request.keeps_files = bool(run_request.session_id or run_request.existing_session) or body.store is not False
    return body.model_copy(update={"input": ""}), run_request


def _run_request(request: Request, body: ResponseRequest, user: Any) -> RunRequest:
    """Return the run that the request asks for.

    Raises:
        InvalidRequest: it names the field that is wrong.
        NotFound: the response that it follows.
    """
    offered = tools.of_request(body, nested=False)
    metadata = body.metadata or {}
    options: dict[str, Any] = {
        "background": bool(body.background),
        "store": body.store is not False,
        "previous_response_id": body.previous_response_id or "",
        "metadata": metadata,
    }
    echo = {name: value for name, value in options.items() if value != _DEFAULTS[name]}
    answer = parameters.of_response(body)
    session_id = starting.session_of(request, metadata.get("session_id"))
    in_session = bool(session_id)  # which has the conversation already
    if body.previous_response_id and (session_id or body.conversation is not None):
        refuse("previous_response_id", "and a conversation exclude each other.", "mutually_exclusive_parameters")
    session_id = session_id or _conversation_session(body.conversation)
    previous = _previous(user, body.previous_response_id) if body.previous_response_id else None
    session = previous.session if previous else starting.existing_session(user, session_id)
    if not isinstance(body.input, str) and (results := outputs_at_end(body.input)):
        within = session.pk if session else "" if session_id else None
        if going_on := continuing.find(user, results, field="input", session_id=within):
            head = _with_instructions(of_responses(body.input[: -len(results)]), body)
            return starting.continuation_request(body.model, going_on, head, offered, parameters=answer, response=echo)
    conversation = of_text(body.input) if isinstance(body.input, str) else of_responses(body.input)
    prompt = _with_instructions(conversation, body).take_prompt()
    continuing.require_results(session, "input")
    is_kept = bool(session or session_id) or body.store is not False or bool(body.background)
    overrides = starting.overrides_of(
        conversation,
        offered,
        only_new=in_session,
        can_return=is_kept,
        parameters=answer,
        compaction=_compaction(body),
        response=echo,
    )
    if previous:
        overrides = dataclasses.replace(overrides, follows=previous.number)
        return RunRequest(model=body.model, prompt=prompt, existing_session=previous.session_id, overrides=overrides)
    abandoned = [] if session_id else continuing.abandoned(user, conversation.call_ids())
    return RunRequest(model=body.model, prompt=prompt, session_id=session_id, overrides=overrides, abandoned=abandoned)


def _compaction(body: ResponseRequest) -> dict[str, Any]:
    entry = next(iter(body.context_management or ()), None)
    return {"threshold": entry.compact_threshold} if entry else {}


def _with_instructions(conversation: Conversation, body: ResponseRequest) -> Conversation:
    if body.instructions:
        conversation.instructions.insert(0, body.instructions)
    return conversation


def _previous(user: Any, identifier: str) -> Run:
    """Return the run of the previous response."""
    with storage_errors():
        return segment_of(user, identifier).run


def _conversation_session(conversation: ConversationReference | str | None) -> str:
    """Return the session that is named as the conversation, as `X-Session-Id` names one."""
    if conversation is None:
        return ""
    if isinstance(conversation, str):
        return starting.checked_session(conversation, "conversation")
    if conversation.id is None:
        refuse("conversation.id", "must be a string.", WRONG_TYPE)
    return starting.checked_session(conversation.id, "conversation.id")


def _get(request: Request, identifier: str) -> Segment:
    with storage_errors():
        return segment_of(caller(request), identifier)


def _flag(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "false").lower()
    if value not in ("true", "false"):
        refuse(name, "must be true or false.", WRONG_TYPE)
    return value == "true"


def _cursor(request: Request) -> SequenceNumber | None:
    text = request.query_params.get("starting_after")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < _LARGEST_NUMBER):
        refuse("starting_after", "must be the sequence_number of an event.", WRONG_TYPE)
    return SequenceNumber.unpack(int(text))


# Answers


def _describe(segment: Segment, user: Any) -> dict[str, Any]:
    return response(segment, segments.read(segment), user=user)


async def _stream(
    follower: RunFollower, translated: ResponseEvents, opening: list[Event], rest: AsyncIterator[list[Event]]
) -> AsyncIterator[bytes]:
    """Yield the events of the run. An error from now on is a part of the stream."""
    await give_thread_back()
    last = opening[-1:]
    yield b"".join(translated.feed(event) for event in opening) or PING
    try:
        async with contextlib.aclosing(rest):  # type: ignore[type-var]
            async for events in rest:
                last = events[-1:] or last
                yield b"".join(translated.feed(event) for event in events) or PING
        segment = dataclasses.replace(translated.segment, run=await database.run(reload, follower.run))
        whole = await database.run(_describe, segment, follower.caller.user)
        yield translated.end(last[0].seq, whole)
    except AgentError as error:
        yield translated.error(error.code, str(error))

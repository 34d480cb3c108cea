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
from chat_app.openai_api import parameters, starting
from chat_app.openai_api.conversation import of_responses, of_text
from chat_app.openai_api.endpoint import add_run_headers, caller, database, endpoint
from chat_app.openai_api.listening import RunFollower, reload
from chat_app.openai_api.requests import ConversationReference, ResponseRequest
from chat_app.openai_api.response_events import ResponseEvents
from chat_app.openai_api.response_object import response, run_of
from chat_app.openai_api.sequence_number import SequenceNumber
from chat_app.openai_api.starting import RunRequest
from chat_app.openai_api.validation import MISSING, WRONG_TYPE, parse, refuse

_CANCEL_TIMEOUT = 2.0  # seconds that a cancel waits for the run to end
_LARGEST_NUMBER = 2**62
_DEFAULTS: dict[str, Any] = {"background": False, "store": True, "previous_response_id": "", "metadata": {}}


async def create(request: Request) -> HttpResponseBase:
    """Start a run and return its response: whole, as a stream, or, in the background, as it is now."""
    body, run_request, run, place = await starting.begin(request, _read)
    ephemeral = run_request.ephemeral and body.store is False and not body.background
    follower = RunFollower(run, of_drf_request(request), cancel_on_disconnect=ephemeral)
    await give_thread_back()
    if body.stream:
        opening, rest = await follower.opening()
        answer = stream(_stream(follower, ResponseEvents(run, request.user), opening, rest), place)
        return add_run_headers(answer, run, request.user)
    if not body.background:
        run = await follower.wait()
    return add_run_headers(JsonResponse(await database.run(_describe, run, request.user)), run, request.user)


async def retrieve(request: Request, identifier: str) -> HttpResponseBase:
    """Return the response as it is now, or its stream from the beginning or after a sequence number."""
    run = await database.run(_get, request, identifier)
    if _flag(request, "stream") and request.method == "GET":
        place = open_connections.take(request.user)
        await give_thread_back()
        follower = RunFollower(run, of_drf_request(request))
        events = _stream(follower, ResponseEvents(run, request.user, _cursor(request)), [], follower.events())
        return add_run_headers(stream(events, place), run, request.user)
    return add_run_headers(JsonResponse(await database.run(_describe, run, request.user)), run, request.user)


async def cancel(request: Request, identifier: str) -> HttpResponseBase:
    """Cancel the run. A run that has ended stays as it is."""
    run = await database.run(_get, request, identifier)
    await database.run(runs.cancel, run, by=request.user.get_username())
    await give_thread_back()
    with contextlib.suppress(TimeoutError, AgentError):  # the response has the status
        async with asyncio.timeout(_CANCEL_TIMEOUT):
            await RunFollower(run, of_drf_request(request)).wait()
    run = await database.run(reload, run)
    return add_run_headers(JsonResponse(await database.run(_describe, run, request.user)), run, request.user)


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
    conversation = of_text(body.input) if isinstance(body.input, str) else of_responses(body.input)
    prompt = conversation.take_prompt()
    if body.instructions:
        conversation.instructions.insert(0, body.instructions)
    starting.refuse_tools(body)
    metadata = body.metadata or {}
    options: dict[str, Any] = {
        "background": bool(body.background),
        "store": body.store is not False,
        "previous_response_id": body.previous_response_id or "",
        "metadata": metadata,
    }
    session_id = starting.session_of(request, metadata.get("session_id"))
    overrides = starting.overrides_of(
        conversation,
        only_new=bool(session_id),
        parameters=parameters.of_response(body),
        response={name: value for name, value in options.items() if value != _DEFAULTS[name]},
    )
    if body.previous_response_id:
        if session_id or body.conversation is not None:
            refuse("previous_response_id", "and a conversation exclude each other.", "mutually_exclusive_parameters")
        existing, follows = _previous(user, body.previous_response_id)
        overrides = dataclasses.replace(overrides, follows=follows)
        return RunRequest(model=body.model, prompt=prompt, existing_session=existing, overrides=overrides)
    session_id = session_id or _conversation_session(body.conversation)
    return RunRequest(model=body.model, prompt=prompt, session_id=session_id, overrides=overrides)


def _previous(user: Any, identifier: str) -> tuple[str, int]:
    """Return the id of the session of the previous response and the number of its run there."""
    with storage_errors():
        run = run_of(user, identifier)
    return run.session_id, run.number


def _conversation_session(conversation: ConversationReference | str | None) -> str:
    """Return the session that is named as the conversation, as `X-Session-Id` names one."""
    if conversation is None:
        return ""
    if isinstance(conversation, str):
        return starting.checked_session(conversation, "conversation")
    if conversation.id is None:
        refuse("conversation.id", "must be a string.", WRONG_TYPE)
    return starting.checked_session(conversation.id, "conversation.id")


def _get(request: Request, identifier: str) -> Run:
    with storage_errors():
        return run_of(caller(request), identifier)


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


def _describe(run: Run, user: Any) -> dict[str, Any]:
    with storage_errors():
        return response(run, run.steps.order_by("index"), user=user)


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
        run = await database.run(reload, follower.run)
        yield translated.end(last[0].seq, await database.run(_describe, run, follower.caller.user))
    except AgentError as error:
        yield translated.error(error.code, str(error))

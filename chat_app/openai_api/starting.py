"""Start the run of a request: the same for chat completions and responses."""

import asyncio
import dataclasses
import datetime
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from django.conf import settings
from django.utils import timezone
from rest_framework.request import Request

from agents_app import runs
from agents_app.access import open_connections
from agents_app.access.open_connections import Place
from agents_app.api import idempotency
from agents_app.database.errors import storage_errors
from agents_app.database.threads import DatabaseThreads
from agents_app.exceptions import Conflict
from agents_app.files import incoming, remote
from agents_app.files.incoming import IncomingFile
from agents_app.files.parts import StoredPart, are_same
from agents_app.models import Run, Session
from agents_app.models.overrides import NO_OVERRIDES, Overrides
from agents_app.models.sessions import SESSION_ID, SESSION_ID_RULE
from agents_app.runs.continuing import continue_with, next_overrides
from chat_app.openai_api.contents import Draft, MessageContent
from chat_app.openai_api.continuing import Continuation
from chat_app.openai_api.conversation import Conversation
from chat_app.openai_api.endpoint import caller, database
from chat_app.openai_api.listening import reload
from chat_app.openai_api.requests import AgentRequest
from chat_app.openai_api.segments import Segment
from chat_app.openai_api.tools import ClientTools
from chat_app.openai_api.validation import TOO_LONG, refuse

Body = TypeVar("Body", bound=AgentRequest)

SESSION_HEADER = "X-Session-Id"
STATELESS_LIFETIME = datetime.timedelta(days=1)  # of the files of a request whose conversation is not kept
_uploads = DatabaseThreads("openai-files", 2)  # for requests with files: others do not wait until these are saved


@dataclass(slots=True)
class RunRequest:
    """A run to start. `session_id`: the session that keeps the conversation; else the request has all of it.

    `existing_session`: instead, the id of the session of an earlier response.
    `ephemeral`: nobody but the waiting client can ever ask for the answer. `keeps_files`: as long as the session.
    `continuation`: instead of a new run, the one that goes on with results of calls. `abandoned`: runs that wait for
    results, though the client goes on without them. `segment`: of the run that was started or goes on.
    """

    model: str
    prompt: MessageContent
    session_id: str = ""
    existing_session: str = ""
    overrides: Overrides = NO_OVERRIDES
    ephemeral: bool = True
    keeps_files: bool = False
    continuation: Continuation | None = None
    abandoned: list[Run] = dataclasses.field(default_factory=list)
    segment: Segment | None = None

    def drafts(self) -> Iterator[Draft]:
        """Yield the parts of each message that has files."""
        yield from (message.get("parts", []) for message in self.overrides.messages)
        yield self.prompt.parts

    def files(self) -> list[IncomingFile]:
        return [part for draft in self.drafts() for part in draft if isinstance(part, IncomingFile)]

    def settle(self, parts: Mapping[str, StoredPart]) -> None:
        """Replace each file by its part; `parts` are by the paths of the files' fields."""
        for draft in self.drafts():
            draft[:] = [parts[part.path] if isinstance(part, IncomingFile) else part for part in draft]


def session_of(request: Request, named: str | None) -> str:
    """Return the session of the header, else of the metadata; empty if neither names one."""
    if (header := request.headers.get(SESSION_HEADER)) is not None:
        return checked_session(header, SESSION_HEADER)
    return checked_session(named, "metadata.session_id") if named else ""


def checked_session(session_id: str, path: str) -> str:
    """Return the id if a session can have it."""
    if not re.match(SESSION_ID, session_id):
        refuse(path, f"{SESSION_ID_RULE}.")
    return session_id


def existing_session(user: Any, session_id: str) -> Session | None:
    """Return the session that the user names, if there is one that the user may use."""
    if not session_id:
        return None
    with storage_errors():
        return Session.objects.find(user, session_id)


def overrides_of(
    conversation: Conversation, tools: ClientTools, *, only_new: bool, can_return: bool, **more: Any
) -> Overrides:
    """Return the options of the run. `only_new`: the session has the conversation already.

    `can_return`: a client that has gone can ask for the answer later.

    Raises:
        InvalidRequest: the texts of the conversation are longer than a request without files can be.
    """
    messages = () if only_new else tuple(conversation.messages)
    length = sum(len(message["content"]) for message in messages) + sum(map(len, conversation.instructions))
    if length > settings.MAX_BODY_BYTES:
        limit = f"{settings.MAX_BODY_BYTES:,} characters, the server's limit for texts (MAX_BODY_BYTES)"
        refuse(conversation.field, f"is longer than {limit}.", TOO_LONG)
    more["parameters"] = more["parameters"] | tools.parameters
    return Overrides(
        instructions="\n\n".join(conversation.instructions),
        messages=messages,
        client_tools=tools.definitions or (),
        stateless=bool(tools.definitions) and not can_return,
        **more,
    )


async def begin(
    request: Request, read: Callable[[Request], tuple[Body, RunRequest]]
) -> tuple[Body, RunRequest, Segment, Place]:
    """Authenticate the caller, `read` the request, save its files, and start its run, or let it go on.

    Raises:
        AgentError, NotAuthenticated: nothing was started.
    """
    body, run_request, run, place = await database.run(_begin, request, read)
    place.leave_with(asyncio.current_task())
    if run is None:
        await _start_with_files(request, run_request)
    assert run_request.segment is not None
    return body, run_request, run_request.segment, place


def _begin(
    request: Request, read: Callable[[Request], tuple[Body, RunRequest]]
) -> tuple[Body, RunRequest, Run | None, Place]:
    """Start the run at once if the request has no files."""
    caller(request)
    body, run_request = read(request)
    place = open_connections.take(request.user)
    return body, run_request, None if run_request.files() else start(request, run_request), place


async def _start_with_files(request: Request, run_request: RunRequest) -> Run:
    urls = {file.path: file.url for file in run_request.files() if file.url}
    most = settings.CHAT_BODY_MAX_BYTES
    async with remote.fetched(urls, owner=request.user.pk, most_bytes=most) as sources:
        run = await _uploads.run(_save_and_start, request, run_request, sources)
    if isinstance(request.data, dict):
        request.data.clear()  # the bytes, for as long as the client waits
    return run


def _save_and_start(request: Request, run_request: RunRequest, sources: Mapping[str, IO[bytes]]) -> Run:
    expires_at = None if run_request.keeps_files else timezone.now() + STATELESS_LIFETIME
    with incoming.saved(request.user, run_request.files(), sources, expires_at=expires_at) as saved:
        run_request.settle(saved.parts)
        run = start(request, run_request)
    messages = (message.get("parts", []) for message in run.overrides.messages)
    saved.delete_unused(used=[part for parts in (run.parts or [], *messages) for part in parts])
    return run


def start(request: Request, run_request: RunRequest) -> Run:
    """Start the run; the same Idempotency-Key with the same request is the same run.

    Raises:
        AgentNotFound, SessionNotFound, Conflict, InvalidRequest, StorageUnavailable: nothing was started.
    """
    if run_request.continuation is not None:
        return _continue(run_request, run_request.continuation, request.user)
    for run in run_request.abandoned:
        runs.cancel(run, by=request.user.get_username())
    names = ("session_id", "existing_session")
    session = {name: text for name in names if (text := getattr(run_request, name))}
    with storage_errors():
        run = idempotency.start(
            request,
            agent_name=run_request.model,
            options={
                "message": run_request.prompt.text,
                "parts": run_request.prompt.parts or None,
                "overrides": run_request.overrides,
                **session,
            },
        )
    if not _are_same(run.overrides, run_request.overrides):
        raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
    if session or request.headers.get("Idempotency-Key"):
        run_request.ephemeral = False
    run_request.segment = Segment(run)
    return run


def _continue(run_request: RunRequest, continuation: Continuation, user: Any) -> Run:
    run, seq = continuation.run, continuation.first_seq
    if continuation.outputs:
        seq = continue_with(run, continuation.outputs, user=user, overrides=run_request.overrides)
    run = reload(run)
    run_request.segment = Segment(run, continuation.turn, seq)
    run_request.ephemeral = run.overrides.stateless
    return run


def continuation_request(
    model: str, continuation: Continuation, conversation: Conversation, tools: ClientTools, **options: Any
) -> RunRequest:
    """Return the request that continues a run with results. What it does not say of the options stays as it was."""
    parameters = options.pop("parameters") | tools.parameters
    if "tool_choice" in parameters:
        parameters["tool_choice"] = parameters["tool_choice"] | {"turn": continuation.turn + 1}
    overrides_of_request = Overrides(
        instructions="\n\n".join(conversation.instructions),
        parameters=parameters,
        client_tools=tools.definitions or (),
        **options,
    )
    has_tools = tools.definitions is not None
    overrides = next_overrides(continuation.run, continuation.turn, overrides_of_request, has_tools=has_tools)
    return RunRequest(model=model, prompt=MessageContent(""), overrides=overrides, continuation=continuation)


def _are_same(first: Overrides, second: Overrides) -> bool:
    """Whether these are the same options: files are the same by their bytes, because a repetition brings them anew."""
    if first == second:
        return True
    return _without_parts(first) == _without_parts(second) and all(
        are_same(one.get("parts"), other.get("parts"))
        for one, other in zip(first.messages, second.messages, strict=True)
    )


def _without_parts(overrides: Overrides) -> Overrides:
    messages: Any = ({name: value for name, value in each.items() if name != "parts"} for each in overrides.messages)
    return dataclasses.replace(overrides, messages=tuple(messages))

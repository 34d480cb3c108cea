"""Start the run of a request: the same for chat completions and responses."""

import re
from dataclasses import dataclass
from typing import Any

from rest_framework.request import Request

from agents_app.api import idempotency
from agents_app.database.errors import storage_errors
from agents_app.exceptions import Conflict
from agents_app.models import Run
from agents_app.models.overrides import NO_OVERRIDES, Overrides
from agents_app.models.sessions import SESSION_ID, SESSION_ID_RULE
from chat_app.openai_api.conversation import Conversation
from chat_app.openai_api.requests import AgentRequest
from chat_app.openai_api.validation import refuse

SESSION_HEADER = "X-Session-Id"


@dataclass(slots=True)
class RunRequest:
    """A run to start. `session_id`: the session that keeps the conversation; else the request has all of it.

    `existing_session`: instead, the id of the session of an earlier response.
    `ephemeral`: nobody but the waiting client can ever ask for the answer.
    """

    model: str
    prompt: str
    session_id: str = ""
    existing_session: str = ""
    overrides: Overrides = NO_OVERRIDES
    ephemeral: bool = True


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


def refuse_tools(body: AgentRequest) -> None:
    """Reject a client's own tools, unless the client says that none may be called: agents have tools of their own."""
    if body.tool_choice == "none" or body.function_call == "none":
        return
    for name in ("tools", "functions"):
        if getattr(body, name):
            refuse(name, "is not supported: an agent calls the tools that it has on the server.", "unsupported_value")


def overrides_of(conversation: Conversation, *, only_new: bool, **more: Any) -> Overrides:
    """Return the options of the run. `only_new`: the session has the conversation already."""
    messages = () if only_new else tuple(conversation.messages)
    return Overrides(instructions="\n\n".join(conversation.instructions), messages=messages, **more)


def start(request: Request, run_request: RunRequest) -> Run:
    """Start the run; the same Idempotency-Key with the same request is the same run.

    Raises:
        AgentNotFound, SessionNotFound, Conflict, InvalidRequest, StorageUnavailable: nothing was started.
    """
    names = ("session_id", "existing_session")
    session = {name: text for name in names if (text := getattr(run_request, name))}
    with storage_errors():
        run = idempotency.start(
            request,
            agent_name=run_request.model,
            options={"message": run_request.prompt, "overrides": run_request.overrides, **session},
        )
    if run.overrides != run_request.overrides:
        raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
    if session or request.headers.get("Idempotency-Key"):
        run_request.ephemeral = False
    return run

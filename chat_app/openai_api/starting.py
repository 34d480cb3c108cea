"""What a request asks for, as a run: the same for chat completions and responses."""

import re
from dataclasses import dataclass, field
from typing import Any

from rest_framework.request import Request

from agents_app.api import idempotency
from agents_app.database.errors import storage_errors
from agents_app.exceptions import Conflict
from agents_app.models import Run
from agents_app.models.sessions import SESSION_ID, SESSION_ID_RULE
from chat_app.openai_api.conversation import Told
from chat_app.openai_api.fields import Fields, plain_text, refuse

SESSION_HEADER = "X-Session-Id"


@dataclass(slots=True)
class Wanted:
    """A request that was read. `session_id`: where the client keeps its conversation here; else all of it is told.

    `lonely`: nobody but the client that waits for it will ever ask for the answer.
    """

    model: str
    prompt: str
    session_id: str = ""
    given: dict[str, Any] = field(default_factory=dict)
    lonely: bool = True


def model_of(body: Fields) -> str:
    return plain_text(body.required("model"), "model", least=1, longest=1000)


def session_of(request: Request, body: Fields) -> str:
    """The session that the request names; empty where it names none."""
    if (header := request.headers.get(SESSION_HEADER)) is not None:
        return checked_session(header, SESSION_HEADER)
    metadata = body.object("metadata")
    return checked_session(metadata.text("session_id"), "metadata.session_id") if metadata.get("session_id") else ""


def checked_session(session_id: str, path: str) -> str:
    """The id, if a session can have it."""
    if not re.match(SESSION_ID, session_id):
        refuse(path, f"{SESSION_ID_RULE}.")
    return session_id


def refuse_tools(body: Fields) -> None:
    """Agents bring their tools with them; a client's own cannot be called, unless it says itself that none may be."""
    for name in ("tools", "functions"):
        if body.items(name) and body.get("tool_choice") != "none" and body.get("function_call") != "none":
            refuse(name, "cannot be honoured: an agent calls the tools that it has on the server.", "unsupported_value")


def give(told: Told, *, only_new: bool, **more: Any) -> dict[str, Any]:
    """What a run is given beside its prompt. `only_new`: the session knows the conversation already."""
    given = {
        "instructions": "\n\n".join(told.instructions),
        "messages": [] if only_new else told.messages,
        **more,
    }
    return {name: value for name, value in given.items() if value}


def start(request: Request, wanted: Wanted) -> Run:
    """The run; the same Idempotency-Key with the same request is the same run.

    Raises:
        AgentNotFound, SessionNotFound, Conflict, InvalidRequest, StorageUnavailable: nothing was started.
    """
    named = {"session_id": wanted.session_id} if wanted.session_id else {}
    given = wanted.given or None
    with storage_errors():
        run = idempotency.start(
            request, agent_name=wanted.model, wanted={"message": wanted.prompt, "given": given, **named}
        )
    if run.given != given:
        raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
    if wanted.session_id or request.headers.get("Idempotency-Key"):
        wanted.lonely = False
    return run

"""The queries of a socket. Call them in a thread of `database`.

They read the user anew each time: while a socket is open, users are demoted and deactivated.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError

from agents_app import event_log, runs
from agents_app.access import callers, counters
from agents_app.access.callers import Caller
from agents_app.database.errors import storage_errors
from agents_app.database.prepared import Parameter, Prepared
from agents_app.database.threads import DatabaseThreads
from agents_app.exceptions import InvalidMessage, NotFound, StorageUnavailable
from agents_app.files import parts as files
from agents_app.models import Run, Session
from agents_app.models.agents import enabled_agents
from agents_app.models.overrides import NO_OVERRIDES, Overrides
from agents_app.runs import actions, approvals, client_tools
from chat_app.websocket.client_frames import Answer, Approve
from chat_app.websocket.server_frames import UnfinishedRun

T = TypeVar("T")

database = DatabaseThreads("chat", 2)

_UNFINISHED = Prepared(lambda: Run.objects.unfinished().filter(session=Parameter("session")).order_by("number"))
LONGEST_HOLD = 0.05  # seconds after which a query gives its thread back, where it could take long: others wait for it


@dataclass(frozen=True, slots=True)
class SessionState:
    """The state of a session, as a socket needs it."""

    id: str | None  # None: it does not exist yet
    session_id: str  # by which the user addresses it
    agent_name: str | None
    last_seq: int
    pruned_seq: int
    runs: list[UnfinishedRun]


def caller(**credentials: str | None) -> Caller | None:
    """Return the caller of a socket; None if it is unknown."""
    with storage_errors():
        return callers.of_socket(**credentials)


def session_state(caller: Caller, session_id: str, agent_name: str | None) -> SessionState | None:
    """Return the state of the session that the user means, also of one that does not exist yet.

    None: it is the id of somebody else's.
    """
    try:
        user = caller.user_of_now()
        session = Session.objects.resolve(user, session_id)
        if session and not session.is_visible_to(user):
            return None
        agent = session.agent if session else None
        if agent is None and agent_name is None:
            agent = enabled_agents(user).default.first(user=user.pk)
        unfinished = _UNFINISHED.all(session=session.pk) if session else ()
        return SessionState(
            id=session.pk if session else None,
            session_id=session.address_for(user) if session else session_id,
            agent_name=agent_name or (agent.name if agent else None),
            last_seq=session.last_seq if session else 0,
            pruned_seq=event_log.pruned_seq(session) if session else 0,
            runs=[UnfinishedRun(id=str(run.pk), status=run.status) for run in unfinished],
        )
    except DatabaseError as error:
        raise StorageUnavailable("The database does not answer. Try again.") from error


def start_run(
    socket_id: str,
    caller: Caller,
    *,
    message: str,
    parts: list[Any] | None,
    tools: list[Any] | None,
    **options: Any,
) -> str:
    """Start a run, and return the id of its session.

    In the open mode all callers are one user, so each socket has its own limit.
    """
    if not settings.AUTH_REQUIRED:
        counters.take("messages", socket_id, limit=settings.CHAT_RATE_PER_MINUTE)
    with storage_errors():
        user = caller.user_of_now()
        text, checked = files.of_message(user, message, parts)
    options["overrides"] = Overrides(client_tools=tuple(client_tools.checked(tools))) if tools else NO_OVERRIDES
    return runs.start(
        runs.NewRun(user=user, message=text, parts=checked, trigger=Run.Trigger.CHAT, **options)
    ).run.session_id


def limited(socket_id: str, query: Callable[..., T], caller: Caller, *arguments: Any) -> T:
    """Make the query of a frame, if the user has not sent too many on all instances.

    Raises:
        RateLimited: too many in this minute.
    """
    who = caller.user.pk if settings.AUTH_REQUIRED else socket_id
    counters.take("frames", who, limit=settings.FRAMES_PER_MINUTE)
    return query(caller, *arguments)


def approve(caller: Caller, session_id: str, frame: Approve) -> None:
    """Answer the newest call of that id in the session.

    Raises:
        InvalidMessage: there is none.
    """
    with storage_errors():
        user = caller.user_of_now()
        own = Run.objects.visible_to(user).filter(session=session_id, approvals__tool_call_id=frame.tool_call_id)
        run = own.order_by("-number").first()
        if run is None:
            text = "No call of that 'tool_call_id' waits for approval in this session."
            raise InvalidMessage(text, param="tool_call_id")
        approvals.answer(
            run,
            tool_call_id=frame.tool_call_id,
            approved=frame.approved,
            reason=frame.reason or "",
            for_run=frame.for_run,
            arguments=frame.arguments,
            by=user.get_username(),
        )


def answer(caller: Caller, session_id: str, frame: Answer) -> None:
    """Answer an action of the session.

    Raises:
        InvalidMessage: there is none of this id.
    """
    with storage_errors():
        try:
            actions.answer(
                caller.user_of_now(),
                frame.action_id,
                outcome=frame.outcome,
                response=frame.response,
                arguments=frame.arguments,
                reason=frame.reason or "",
                for_run=frame.for_run,
                is_error=frame.is_error,
                session_id=session_id,
            )
        except NotFound as error:
            raise InvalidMessage(str(error), param="action_id") from None


def interrupt(caller: Caller, session_id: str, run_id: uuid.UUID | None, below: int | None = None) -> int | None:
    """Stop one run, or all of the session, `below` that number. Leave a run that has ended meanwhile as it is.

    Returns the number to go on below, if there may be more runs than LONGEST_HOLD allows; None if that is all.

    Raises:
        InvalidMessage: the session has no run of that id.
    """
    began = time.monotonic()
    with storage_errors():
        user = caller.user_of_now()
        to_stop = Run.objects.visible_to(user).filter(session=session_id)
        if run_id is not None and not (to_stop := to_stop.filter(pk=run_id)).exists():
            raise InvalidMessage("This session has no run of that 'run_id'.", param="run_id")
        if below is not None:
            to_stop = to_stop.filter(number__lt=below)
        for run in to_stop.unfinished().order_by("-number"):  # newest first, so that no queued one starts meanwhile
            runs.cancel(run, by=user.get_username())
            if time.monotonic() >= began + LONGEST_HOLD:
                return run.number
    return None

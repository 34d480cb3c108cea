"""The chat socket: one consumer watches one session, and starts runs in it."""

import asyncio
import contextlib
import contextvars
import logging
import os
import platform
import re
import time
import uuid
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError
from django.http import parse_cookie

from agents_app import event_log, runs
from agents_app.access import callers, counters, origins, revocation
from agents_app.api.protocol import PROTOCOL_VERSION
from agents_app.database.errors import storage_errors
from agents_app.database.threads import DatabaseThreads
from agents_app.exceptions import AgentError, InvalidMessage, SessionNotFound, StorageUnavailable
from agents_app.live import sockets
from agents_app.models import Agent, Run, Session
from agents_app.models.sessions import SESSION_ID, SESSION_ID_RULE
from agents_app.observability import context, metrics, tracing
from agents_app.runs import approvals
from chat_app.websocket import frames

logger = logging.getLogger(__name__)

HEARTBEAT = 30.0
BAD_SESSION, NOT_AUTHENTICATED, FOREIGN_ORIGIN, NOT_FOUND, COME_BACK, TOO_MANY = 4400, 4401, 4403, 4404, 4409, 4429
_TICKET = "ticket."

_database = DatabaseThreads("chat", 2)
_open_sockets = 0
_of_user: Counter[int] = Counter()  # sockets of this process


class Refused(Exception):
    """The socket may not be opened; `code` is the close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """One socket on one session. It holds a cursor, and whoever answers it is somewhere else."""

    channel_layer_alias = None  # the hub has one channel for all sockets

    id = ""
    caller: callers.Caller | None = None
    _counted = False
    _is_ours = False  # whether the session is there and the user may see it
    _tasks: tuple["asyncio.Task[None]", ...] = ()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """As Channels', without its hop to the one shared thread, behind which one slow query stalls all sockets."""
        await getattr(self, message["type"].replace(".", "_"))(message)

    # May you, listen, catch up

    async def connect(self) -> None:
        """Accept first: a refusal before that reaches a browser without its code."""
        await self.accept(self._subprotocol())
        try:
            self._count()
            self._check_origin()
            self.session_id = self._session_id()
            context.bind(session_id=self.session_id)
            query = parse_qs(self.scope["query_string"].decode("latin1"))
            self.agent_name = _agent_name(query.get("agent_name", [""])[0])
            after = _cursor(query.get("after", [None])[0])
            await self._authenticate()
            await self._open(after)
        except Refused as refusal:
            metrics.SOCKETS_REFUSED.labels(str(refusal.code)).inc()
            await self.close(refusal.code, str(refusal))
        except AgentError as error:
            metrics.SOCKETS_REFUSED.labels("invalid").inc()
            await self.send(frames.error_frame(error))
            await self.close(BAD_SESSION if isinstance(error, InvalidMessage) else 4500, str(error))

    def _subprotocol(self) -> str | None:
        return "agent.v1" if "agent.v1" in self.scope["subprotocols"] else None

    def _count(self) -> None:
        global _open_sockets
        _open_sockets += 1
        self._counted = True
        metrics.SOCKETS.inc()
        if _open_sockets > settings.SOCKETS_PER_PROCESS:
            raise Refused(TOO_MANY, "too many sockets")

    def _check_origin(self) -> None:
        host, origin = self._header(b"host") or "", self._header(b"origin")
        if not origins.host_allowed(host) or not origins.origin_allowed(origin, host):
            raise Refused(FOREIGN_ORIGIN, "foreign origin")

    def _header(self, name: bytes) -> str | None:
        return next((value.decode("latin1") for key, value in self.scope["headers"] if key == name), None)

    def _session_id(self) -> str:
        session_id = self.scope["url_route"]["kwargs"].get("session_id", "").removesuffix("/")
        if not re.match(SESSION_ID, session_id):
            raise Refused(BAD_SESSION, f"the session id {SESSION_ID_RULE}")
        return session_id

    async def _authenticate(self) -> None:
        """Find out who is there. A cookie counts only beside an Origin, which is ours: see `_check_origin`."""
        cookies = parse_cookie(self._header(b"cookie") or "") if self._header(b"origin") else {}
        offered = (protocol for protocol in self.scope["subprotocols"] if protocol.startswith(_TICKET))
        caller = await _database.run(
            _caller,
            address=self._address(),
            authorization=self._header(b"authorization"),
            ticket=next(offered, "").removeprefix(_TICKET),
            session_key=cookies.get(settings.SESSION_COOKIE_NAME),
        )
        if caller is None:
            raise Refused(NOT_AUTHENTICATED, "not authenticated")
        self.caller, self.user = caller, caller.user
        _of_user[self.user.pk] += 1
        if 0 < settings.SOCKETS_PER_USER < _of_user[self.user.pk]:
            raise Refused(TOO_MANY, "too many sockets of yours")

    def _address(self) -> str:
        """Whose connection it is, for people to read."""
        return str((self.scope.get("client") or [""])[0])

    async def _open(self, after: int | None) -> None:
        state = await _database.run(_session_state, self.user, self.session_id, self.agent_name)
        if state is None:
            raise Refused(NOT_FOUND, "no such session")
        connected = {
            "session_id": self.session_id,
            "agent_name": state["agent_name"],
            "message": f"Connected to {settings.PRODUCT_NAME}.",
            "last_seq": state["last_seq"],
            "runs": state["runs"],
            "heartbeat_interval": HEARTBEAT,
            "protocol": PROTOCOL_VERSION,
        }
        await self.send(frames.encode("connected", connected))
        self._tasks = (self._spawn(self._beat()),)
        await sockets.register().add(self._connection(), self._notify)
        await self._follow(state["last_seq"] if after is None else after, state)

    def _connection(self) -> sockets.Connection:
        self.id = uuid.uuid4().hex
        return sockets.Connection(
            id=self.id,
            session_id=self.session_id,
            user=self.user.get_username(),
            agent_name=self.agent_name,
            address=origins.client_address(self._address(), [self._header(b"x-forwarded-for") or ""]),
            since=time.time(),
            instance=f"{platform.node()}:{os.getpid()}",
        )

    def _notify(self, message: str) -> None:
        self._tasks = (*self._tasks, self._spawn(self.send(frames.encode("notice", {"message": message}))))

    async def _follow(self, after: int, state: dict[str, Any]) -> None:
        """Send what follows `after`; where the log cannot continue it, say from where it does."""
        start = min(max(after, state["pruned_seq"]), state["last_seq"])
        self._is_ours = state["exists"]
        if start != after:
            await self.send(frames.encode("reset", {"after": start}))
        self._tasks = (*self._tasks[:1], self._spawn(self._pump(start)))

    def _spawn(self, coroutine: Any) -> "asyncio.Task[None]":
        return asyncio.create_task(coroutine, context=contextvars.Context())

    async def _pump(self, after: int) -> None:
        """Send on what the log says. Whoever waits for a session to begin may find that it is somebody else's."""
        send = self.base_send
        try:
            async with contextlib.aclosing(event_log.follow(self.session_id, after)) as following:  # type: ignore[type-var]
                async for batch in following:
                    if not self._is_ours and not await _database.run(_may_see, self.user, self.session_id):
                        raise SessionNotFound("There is no such session.")
                    self._is_ours = True
                    for frame in batch:
                        await send({"type": "websocket.send", "text": frame.text})
        except SessionNotFound as error:
            await self.close(NOT_FOUND, str(error))
        except StorageUnavailable as error:
            await self.close(COME_BACK, str(error))

    async def _beat(self) -> None:
        """Ping for as long as the caller has access."""
        assert self.caller is not None
        with revocation.watch(self.caller) as revoked:
            while not (await asyncio.wait({revoked}, timeout=HEARTBEAT))[0]:
                await self.send(frames.ping_frame())
        await self.close(NOT_AUTHENTICATED, "not authenticated any more")

    async def disconnect(self, code: int) -> None:
        global _open_sockets
        if self._counted:
            _open_sockets -= 1
            metrics.SOCKETS.dec()
        if self.caller is not None:
            _of_user[self.user.pk] -= 1
            if not _of_user[self.user.pk]:
                del _of_user[self.user.pk]
        sockets.register().remove(self.id)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = ()  # their tracebacks would keep the last frames alive

    # What the client says

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        if not self._tasks:
            return  # refused: what was sent before the close arrived is not for us
        try:
            if text_data is None:
                raise InvalidMessage("Send text frames with JSON in them; binary frames are not understood.")
            said = frames.parse(text_data)
            try:
                await self._act(said)
            except AgentError as error:
                message_id = said.message_id if isinstance(said, frames.Chat) else None
                await self.send(frames.error_frame(error, message_id))
        except InvalidMessage as error:
            await self.send(frames.error_frame(error))

    async def _act(self, said: frames.ClientFrame) -> None:
        match said:
            case frames.Chat():
                await self._chat(said)
            case frames.Interrupt():
                await _database.run(_interrupt, self.user, self.session_id, said.run_id)
            case frames.Approve():
                await _database.run(_approve, self.user, self.session_id, said)
            case frames.Resume(after):
                await self._resume(after)
            case frames.Ping(timestamp):
                await self.send(frames.pong_frame(timestamp))

    async def _chat(self, chat: frames.Chat) -> None:
        with tracing.span("chat frame", "server", gen_ai__conversation__id=self.session_id):
            await _database.run(
                _start,
                self.id,
                user=self.user,
                session_id=self.session_id,
                message=chat.message,
                agent_name=chat.agent_name or self.agent_name,
                enable_reasoning=chat.enable_reasoning,
                message_id=chat.message_id,
                if_busy=chat.if_busy,
                trigger=Run.Trigger.CHAT,
            )
        self._is_ours = True  # so that its first words need not ask, behind all others who are just beginning

    async def _resume(self, after: int) -> None:
        state = await _database.run(_session_state, self.user, self.session_id, self.agent_name)
        if state is None:
            await self.close(NOT_FOUND)
            return
        for task in self._tasks[1:]:
            task.cancel()
        await asyncio.gather(*self._tasks[1:], return_exceptions=True)
        self._tasks = self._tasks[:1]
        await self._follow(after, state)


def _agent_name(text: str) -> str | None:
    if len(text) > 64 or "\x00" in text:
        raise InvalidMessage("'agent_name' is not the name of an agent.", param="agent_name")
    return text or None


def _cursor(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidMessage("'after' must be a whole number, 0 or more.", param="after")
    return int(text)


def _caller(**shown: str | None) -> callers.Caller | None:
    with storage_errors():
        return callers.of_socket(**shown)


def _may_see(user: Any, session_id: str) -> bool:
    with storage_errors():
        return Session.objects.visible_to(user).filter(pk=session_id).exists()


def _session_state(user: Any, session_id: str, agent_name: str | None) -> dict[str, Any] | None:
    """Where the session stands, without making it; None if it is somebody else's."""
    try:
        session = Session.objects.visible_to(user).select_related("agent").filter(pk=session_id).first()
        if session is None and Session.objects.filter(pk=session_id).exists():
            return None
        agent = session.agent if session else None
        if agent is None and agent_name is None:
            agent = Agent.objects.visible_to(user).default()
        unfinished = session.runs.unfinished().order_by("number") if session else ()
        return {
            "agent_name": agent_name or (agent.name if agent else None),
            "exists": session is not None,
            "last_seq": session.last_seq if session else 0,
            "pruned_seq": session.pruned_seq if session else 0,
            "runs": [{"id": str(run.pk), "status": run.status} for run in unfinished],
        }
    except DatabaseError as error:
        raise StorageUnavailable("The database does not answer. Try again.") from error


def _start(socket_id: str, **options: Any) -> None:
    """Start a run. In the open mode all callers are one user, so each socket has a limit of its own."""
    if not settings.AUTH_REQUIRED:
        counters.take("messages", socket_id, limit=settings.CHAT_RATE_PER_MINUTE)
    runs.start(**options)


def _approve(user: Any, session_id: str, said: frames.Approve) -> None:
    with storage_errors():
        mine = Run.objects.visible_to(user).filter(session=session_id, approvals__tool_call_id=said.tool_call_id)
        run = mine.order_by("-number").first()
        if run is None:
            text = "No call of that 'tool_call_id' waits for approval in this session."
            raise InvalidMessage(text, param="tool_call_id")
        approvals.answer(
            run,
            tool_call_id=said.tool_call_id,
            approved=said.approved,
            reason=said.reason,
            for_run=said.for_run,
            by=user.get_username(),
        )


def _interrupt(user: Any, session_id: str, run_id: uuid.UUID | None) -> None:
    """Stop one run, or all; one that has finished meanwhile is left as it is."""
    with storage_errors():
        doomed = Run.objects.visible_to(user).filter(session=session_id)
        if run_id is not None and not (doomed := doomed.filter(pk=run_id)).exists():
            raise InvalidMessage("This session has no run of that 'run_id'.", param="run_id")
        for run in doomed.unfinished().order_by("-number"):  # newest first, so that no queued one starts meanwhile
            runs.cancel(run, by=user.get_username())

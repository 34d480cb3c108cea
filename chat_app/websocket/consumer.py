"""The chat socket: one consumer watches one session, and starts runs in it."""

import asyncio
import contextlib
import os
import platform
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings

from agents_app import event_log
from agents_app.access import revocation
from agents_app.access.callers import Caller
from agents_app.access.open_connections import Place
from agents_app.api.protocol import PROTOCOL_VERSION
from agents_app.background import spawn
from agents_app.exceptions import (
    AgentError,
    AuthenticationExpired,
    InvalidMessage,
    RateLimited,
    SessionNotFound,
    StorageUnavailable,
)
from agents_app.live import sockets
from agents_app.models.sessions import make_session_id
from agents_app.observability import context, metrics, tracing
from chat_app.websocket import admission, client_frames, frame_rate, queries, server_frames
from chat_app.websocket.admission import Handshake, Refused
from chat_app.websocket.frame_rate import FrameRate
from chat_app.websocket.queries import SessionState, database
from chat_app.websocket.tasks import SocketTasks

T = TypeVar("T")

HEARTBEAT_INTERVAL = 30.0  # seconds
_HEARTBEAT, _FOLLOW, _CREATION, _NOTICE = "heartbeat", "follow", "creation", "notice"  # names of tasks


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """One socket on one session. It holds a cursor; the runs are executed elsewhere.

    `name`: the session as the client names it. `session_id`: its id. If there is no such session yet, that is the id
    that it gets if this socket's first message creates it, so that its first frames arrive without a query.
    """

    channel_layer_alias = None  # the hub has one channel for all sockets

    caller: Caller  # set by `connect`
    _is_counted = False
    _place: Place | None = None  # among what the user keeps open
    _is_open = False
    _exists = False  # whether the session exists

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.id = uuid.uuid4().hex
        self._tasks = SocketTasks()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Like Channels' own, without its hop to the one shared thread, where one slow query stalls all sockets."""
        await getattr(self, message["type"].replace(".", "_"))(message)

    # Connect: may you, listen, catch up

    async def connect(self) -> None:
        """Accept first: a refusal before that reaches a browser without its code."""
        self._handshake = handshake = Handshake(self.scope)
        await self.accept(handshake.subprotocol)
        try:
            self._is_counted = True
            admission.count.add()
            handshake.check_origin()
            self.name = handshake.session_id()
            context.bind(session_id=self.name)
            self.agent_name = handshake.agent_name()
            after = handshake.cursor()
            caller = await handshake.authenticate()
            self.caller = caller
            self._place = admission.place_of(caller.user)
            self._rate = FrameRate(caller.user.pk)
            await self._open(after)
        except Refused as refusal:
            metrics.SOCKETS_REFUSED.labels(str(refusal.code)).inc()
            await self.close(refusal.code, str(refusal))
        except AgentError as error:
            metrics.SOCKETS_REFUSED.labels("invalid").inc()
            await self.send(server_frames.error_frame(error))
            invalid = isinstance(error, InvalidMessage)
            await self.close(admission.BAD_SESSION if invalid else admission.SERVER_ERROR, str(error))

    async def _open(self, after: int | None) -> None:
        state = await self._session_state()
        if state is None:
            raise Refused(admission.NOT_FOUND, "no such session")
        self.name, self.session_id, self._exists = state.session_id, state.id or make_session_id(), bool(state.id)
        connected = server_frames.Connected(
            session_id=self.name,
            id=state.id,
            agent_name=state.agent_name,
            message=f"Connected to {settings.PRODUCT_NAME}.",
            last_seq=state.last_seq,
            runs=state.runs,
            heartbeat_interval=HEARTBEAT_INTERVAL,
            protocol=PROTOCOL_VERSION,
        )
        await self.send(server_frames.encode(connected))
        self._is_open = True
        self._tasks.start(_HEARTBEAT, self._beat())
        await sockets.register().add(self._connection(), self._notify)
        await self._follow(state.last_seq if after is None else after, state)
        if not self._exists:
            self._tasks.start(_CREATION, self._await_session())

    async def _session_state(self) -> SessionState | None:
        return await database.run(queries.session_state, self.caller, self.name, self.agent_name)

    def _connection(self) -> sockets.Connection:
        return sockets.Connection(
            id=self.id,
            session_id=self.name,
            user=self.caller.user.get_username(),
            agent_name=self.agent_name,
            address=self._handshake.client_address,
            since=time.time(),
            instance=f"{platform.node()}:{os.getpid()}",
        )

    def _notify(self, message: str) -> None:
        self._tasks.start(_NOTICE, self.send(server_frames.encode(server_frames.Notice(message=message))))

    async def _follow(self, after: int, state: SessionState) -> None:
        """Send what follows `after`. If the log does not reach back so far, send from where it starts."""
        start = min(max(after, state.pruned_seq), state.last_seq)
        if start != after:
            await self.send(server_frames.encode(server_frames.Reset(after=start)))
        self._tasks.start(_FOLLOW, self._send_log(start))

    async def _send_log(self, after: int) -> None:
        send = self.base_send
        try:
            async with contextlib.aclosing(event_log.follow(self.session_id, after)) as batches:  # type: ignore[type-var]
                async for frames in batches:
                    for frame in frames:
                        await send({"type": "websocket.send", "text": frame.text})
        except SessionNotFound as error:
            await self.close(admission.NOT_FOUND, str(error))
        except StorageUnavailable as error:
            await self.close(admission.RECONNECT, str(error))

    async def _await_session(self) -> None:
        """Watch the session as soon as somebody creates it: this socket, or another one of the user's."""
        await self._watch(await event_log.wait_until_created(self.caller.user.pk, self.name))

    async def _watch(self, session_id: str) -> None:
        """Watch the session that did not exist when this socket opened, from its first frame."""
        self._exists = True
        if session_id != self.session_id:
            self.session_id = session_id
            await self._tasks.stop(_FOLLOW)
            self._tasks.start(_FOLLOW, self._send_log(0))

    async def _beat(self) -> None:
        """Ping for as long as the caller has access to the session."""
        with revocation.watch(self.caller, self.session_id) as revoked:
            while not (await asyncio.wait({revoked}, timeout=HEARTBEAT_INTERVAL))[0]:
                await self.send(server_frames.ping_frame())
        if isinstance(revoked.result(), SessionNotFound):
            await self.close(admission.NOT_FOUND, "no such session")
        else:
            await self.close(admission.NOT_AUTHENTICATED, "not authenticated any more")

    async def disconnect(self, code: int) -> None:
        self._is_open = False
        if self._is_counted:
            admission.count.remove()
        if self._place is not None:
            self._place.leave()
        sockets.register().remove(self.id)
        await self._tasks.stop()

    # Frames of the client

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        if not self._is_open:
            return  # the client sent this before our close arrived
        retry_after = self._rate.take()
        try:
            if text_data is None:
                raise InvalidMessage("Send JSON in text frames: binary frames are not supported.")
            frame = client_frames.parse(text_data)
            try:
                if retry_after:
                    raise RateLimited("Too many frames: wait a moment.", retry_after=retry_after)
                await self._handle(frame)
            except AuthenticationExpired as error:
                await self.close(admission.NOT_AUTHENTICATED, str(error))
            except AgentError as error:
                message_id = frame.message_id if isinstance(frame, client_frames.Chat) else None
                await self.send(server_frames.error_frame(error, message_id))
        except InvalidMessage as error:
            await self.send(server_frames.error_frame(error))
        if retry_after:
            await asyncio.sleep(frame_rate.PAUSE)  # the server stops reading from a client whose frames are not taken

    async def _handle(self, frame: client_frames.Payload) -> None:
        match frame:
            case client_frames.Chat():
                await self._chat(frame)
            case client_frames.Interrupt():
                await asyncio.shield(spawn(self._interrupt(frame.run_id)))  # it goes on if the client leaves
            case client_frames.Approve():
                await self._query(queries.approve, self.session_id, frame)
            case client_frames.Answer():
                await self._query(queries.answer, self.session_id, frame)
            case client_frames.Resume():
                await self._resume(frame.after)
            case client_frames.Ping():
                await self.send(server_frames.pong_frame(frame.timestamp))

    async def _chat(self, chat: client_frames.Chat) -> None:
        if self._exists:
            session = {"existing_session": self.session_id}
        else:
            session = {"session_id": self.name, "new_session_id": self.session_id}
        with tracing.span("chat frame", "server", gen_ai__conversation__id=self.name):
            session_id = await database.run(
                queries.start_run,
                self.id,
                self.caller,
                **session,
                message=chat.message,
                parts=chat.parts,
                tools=chat.tools,
                agent_name=chat.agent_name or self.agent_name,
                enable_reasoning=chat.enable_reasoning,
                message_id=chat.message_id,
                if_busy=chat.if_busy,
            )
        if not self._exists:
            await self._watch(session_id)

    async def _interrupt(self, run_id: uuid.UUID | None) -> None:
        """Stop the run, or all of the session: each time a few, so that other sockets' queries come in between."""
        below = await self._query(queries.interrupt, self.session_id, run_id)
        while below is not None:
            below = await database.run(queries.interrupt, self.caller, self.session_id, run_id, below)

    async def _query(self, query: Callable[..., T], *arguments: Any) -> T:
        """Make a query for a frame, if its client has not sent too many such frames."""
        return await database.run(queries.limited, self.id, query, self.caller, *arguments)

    async def _resume(self, after: int) -> None:
        state = await self._query(queries.session_state, self.name, self.agent_name)
        if state is None or (self._exists and state.id != self.session_id):  # deleted, and perhaps made again
            await self.close(admission.NOT_FOUND)
            return
        if state.id is not None:
            self.session_id, self._exists = state.id, True
        await self._tasks.stop(_FOLLOW)
        await self._follow(after, state)

"""The connection to an MCP server that all runs of an event loop share: made at its first use, and after each failure.

The SDK's context managers must be left by the task that entered them: one task owns the connection, and callers put
requests into that task's queue.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from agents_app import background
from agents_app.engine.mcp.redaction import redact
from agents_app.engine.mcp.results import retry_state, tool_result
from agents_app.engine.mcp.session import (
    NotDelivered,
    OutcomeUnknown,
    ServerError,
    ServerInfo,
    Session,
    make_transport,
    open_session,
)
from agents_app.engine.mcp.tool_names import MakeFunction, make_tools, sort_out
from agents_app.engine.mcp.transports.base import ConnectFailed, Transport
from agents_app.engine.spec import JSON, ServerSpec
from agents_app.engine.toolset import Call, Tool, ToolResult, ToolsUnavailable
from agents_app.observability import metrics

logger = logging.getLogger("agents_app.mcp")

IDLE_TIMEOUT = 600.0  # seconds without a call before a connection is closed
CONNECT_TIMEOUT = 30.0  # npx downloads at its first start
RESTART_INTERVAL = 1.0  # seconds between two starts of one server; requests in between get the last failure
TIMEOUT_PAUSE = 10.0  # the same after a time-out, which would cost each turn of a model as much again
CLOSE_TIMEOUT = 4.5
CANCEL_GRACE = 0.3  # seconds to answer a cancelled call: a server that continues is stopped half a second after Stop
_RETRY_PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0)  # seconds before each repetition of a call that the server wants again
_SETTLE_TIMEOUT = 1.0
_CLOSED = "the connection to it was closed"


@dataclass(eq=False)
class ToolRequest:
    """A call of a tool by the server's own name. To cancel `answer` is to cancel the call."""

    tool: str
    arguments: JSON
    call: Call
    answer: "asyncio.Future[ToolResult]"
    is_repeat: bool = False
    request_id: int = 0  # of the last message that made the call


@dataclass(eq=False)
class ListRequest:
    """A request for the tools as they are now."""

    answer: "asyncio.Future[tuple[Tool, ...]]"


Request = ToolRequest | ListRequest


class Connection:
    """One server, in one event loop. `make_function` makes the function that calls a tool."""

    def __init__(self, spec: ServerSpec, make_function: MakeFunction) -> None:
        self.info: ServerInfo | None = None
        self._spec = spec
        self._make_function = make_function
        self._queue: asyncio.Queue[Request | None] = asyncio.Queue()  # None: look whether the session is over
        self._owner: asyncio.Task[None] | None = None
        self._transport: Transport | None = None
        self._tools: tuple[Tool, ...] | None = None
        self.left_out = ""  # a sentence about the tools that cannot be used
        self._tool_changes = 0
        self._is_closing = False
        self._failure = ""
        self._started = self._fail_until = -math.inf
        # The session that is open now:
        self._session: Session | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0  # requests
        self._has_ended = False
        self._is_doubtful = False  # something went wrong: close the session as soon as no request runs

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost with this object."""
        return (self._owner is None or self._owner.done()) and time.monotonic() > self._fail_until

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for it."""
        return self._running > 0 or not self._queue.empty()

    @property
    def last_log_line(self) -> str:
        """The last line that the server wrote to its standard error."""
        return self._transport.last_log_line if self._transport else ""

    @property
    def refused(self) -> tuple[str, ...]:
        """The first hosts that the server tried to reach from its sandbox and may not, each with the reason."""
        return self._transport.refused if self._transport else ()

    async def tools(self, *, fresh: bool = False) -> tuple[Tool, ...]:
        """Return the tools; list them again only if the server said that they changed, or if `fresh`.

        Raises:
            ToolsUnavailable: the server has none to offer now.
        """
        if self._tools is not None and not fresh:
            return self._tools
        answer: asyncio.Future[tuple[Tool, ...]] = asyncio.get_running_loop().create_future()
        self._submit(ListRequest(answer))
        return await answer

    async def call(self, tool: str, arguments: JSON, call: Call) -> ToolResult:
        """Call a tool by the server's own name. Cancel the task that waits here to cancel the call.

        Raises:
            ToolsUnavailable: there is no connection to the server.
        """
        answer: asyncio.Future[ToolResult] = asyncio.get_running_loop().create_future()
        self._submit(ToolRequest(tool, arguments, call, answer))
        return await answer

    async def close(self) -> None:
        """Close the connection and end its requests; takes `CLOSE_TIMEOUT` and a little at most."""
        self._is_closing = True
        if self._owner is None or self._owner.done():
            return
        if self._session is None:
            self._owner.cancel()
        else:
            self._end_session()
        _, alive = await asyncio.wait({self._owner}, timeout=CLOSE_TIMEOUT)
        if alive:
            self._owner.cancel()
            await asyncio.wait({self._owner}, timeout=1)

    def _submit(self, request: Request) -> None:
        if self._spec.problem:
            raise ToolsUnavailable(self._spec.problem)
        if self._owner is None or self._owner.done():
            if time.monotonic() < self._fail_until:
                raise ToolsUnavailable(self._failure)
            self._owner = background.spawn(self._own(), name=f"MCP server {self._spec.name}")
        self._queue.put_nowait(request)

    # The owner's part: one session after another, for as long as there are requests

    async def _own(self) -> None:
        try:
            while self._has_requests() and not self._is_closing:
                await self._connect_and_serve()
        finally:
            self._reject_all(_unavailable(self._spec, "it is being closed"))

    def _has_requests(self) -> bool:
        """Whether there is a request for a new session; drop those that nobody waits for any more."""
        waiting = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        for request in waiting:
            if request is not None and not request.answer.done():
                self._queue.put_nowait(request)
        return not self._queue.empty()

    def _reject_all(self, reason: str) -> None:
        while not self._queue.empty():
            request = self._queue.get_nowait()
            if request is not None and not request.answer.done():
                request.answer.set_exception(ToolsUnavailable(reason))

    async def _connect_and_serve(self) -> None:
        """Hold one session, from connecting to its end. If connecting fails, reject all requests."""
        await asyncio.sleep(max(0.0, self._started + RESTART_INTERVAL - time.monotonic()))
        self._started = time.monotonic()
        self._has_ended = self._is_doubtful = False
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    self._session = await self._connect(stack)
                metrics.MCP_CONNECTIONS.labels("ok").inc()
                await self._serve()
        except Exception as error:  # of the SDK, in groups: whatever it is, the next request connects again
            text = _unavailable(self._spec, _reason(error))
            logger.warning("%s", text)
            if self._session is None:
                metrics.MCP_CONNECTIONS.labels("failed").inc()
                pause = TIMEOUT_PAUSE if isinstance(error, TimeoutError) else RESTART_INTERVAL
                self._failure, self._fail_until = text, time.monotonic() + pause
                self._reject_all(text)
        finally:
            self._forget_tools()
            await self._settle()
            self._session = None

    async def _connect(self, stack: contextlib.AsyncExitStack) -> Session:
        self._transport = make_transport(self._spec)
        session = await stack.enter_async_context(
            open_session(self._transport, on_end=self._on_end, on_tools_changed=self._forget_tools)
        )
        await self._list_tools(session)
        self.info = session.info
        logger.info("The MCP server %r is connected: %s", self._spec.name, self.info)
        return session

    async def _serve(self) -> None:
        """Begin requests as they come, until the session is over or idle for too long."""
        while True:
            try:
                async with asyncio.timeout(IDLE_TIMEOUT):
                    request = await self._queue.get()
            except TimeoutError:
                if self._running == 0:
                    return
                continue
            if request is None:
                if self._is_over:
                    return
            elif request.answer.done():
                continue
            elif self._is_doubtful and self._running == 0:
                self._queue.put_nowait(request)
                return
            else:
                self._begin(request)

    async def _settle(self) -> None:
        """Let the requests of a closed session end, and cancel those that do not."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SETTLE_TIMEOUT)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def _is_over(self) -> bool:
        return self._has_ended or (self._is_doubtful and self._running == 0)

    def _on_end(self) -> None:
        """The server ended the session."""
        self._forget_tools()
        self._end_session()

    def _end_session(self) -> None:
        self._has_ended = True
        self._queue.put_nowait(None)

    def _doubt(self) -> None:
        self._is_doubtful = True
        self._forget_tools()

    # The requests' part: each has its own task

    def _begin(self, request: Request) -> None:
        assert self._session is not None
        if isinstance(request, ToolRequest):
            task = self._spawn(self._call(self._session, request))
        else:
            task = self._spawn(self._list(self._session, request))
        self._running += 1
        task.add_done_callback(self._on_request_done)
        request.answer.add_done_callback(lambda answer: task.cancel() if answer.cancelled() else None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_request_done(self, _: object) -> None:
        self._running -= 1
        if self._is_over:
            self._queue.put_nowait(None)

    async def _list(self, session: Session, request: ListRequest) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                tools = await self._list_tools(session)
        except asyncio.CancelledError:  # by the caller, or because the session ends
            _fail(request, _unavailable(self._spec, _CLOSED))
            raise
        except Exception as error:  # of the SDK too; the caller must get an answer
            self._doubt()
            _fail(request, _unavailable(self._spec, _reason(error)))
        else:
            if not request.answer.done():
                request.answer.set_result(tools)

    async def _list_tools(self, session: Session) -> tuple[Tool, ...]:
        changes = self._tool_changes
        # In a thread: a server may list a thousand tools, with a quarter of a megabyte each.
        listed, cut = await session.list_tools()
        tools, problem = await asyncio.to_thread(self._sort_tools, listed)
        if cut:
            problem = (
                f"The list of tools of the MCP server {self._spec.name!r} is not complete: {cut}. {problem}".rstrip()
            )
        self.left_out = redact(problem, self._spec)
        if problem:
            logger.warning("%s", self.left_out)
        if changes == self._tool_changes:
            self._tools = tools
        return tools

    def _sort_tools(self, listed: list[JSON]) -> tuple[tuple[Tool, ...], str]:
        usable, problem = sort_out(self._spec, listed)
        return make_tools(self._spec, usable, self._make_function), problem

    def _forget_tools(self) -> None:
        self._tool_changes += 1
        self._tools = None

    async def _call(self, session: Session, request: ToolRequest) -> None:
        try:
            result = await self._result(session, request)
        except asyncio.CancelledError:
            if request.answer.cancelled():  # by the caller; else the session ends
                self._spawn(self._abandon(session, request.request_id))
            elif not request.answer.done():
                request.answer.set_result(_unknown_outcome(self._spec, _CLOSED))
            raise
        except Exception as error:  # of the SDK; the caller must get an answer
            logger.error("A call of %s failed: %s", self._spec.name, redact(repr(error), self._spec))
            self._doubt()
            result = _unknown_outcome(self._spec, "its client failed")
        if result is None:
            self._end_session()
            self._queue.put_nowait(request)
        elif not request.answer.done():
            request.answer.set_result(result)

    async def _result(self, session: Session, request: ToolRequest) -> ToolResult | None:
        """Return the call's result, in words if there is none; None if another session has to make the call."""
        call = dataclasses.replace(request.call, user=_user_of_server(request.call.user, self._spec.name))
        try:
            raw = await self._make_call(session, request, call)
            return tool_result(raw, max_characters=call.limits.max_result_characters)
        except ServerError as error:
            return ToolResult(str(error), is_error=True)
        except NotDelivered as error:
            self._doubt()
            if error.session_lost and not request.is_repeat:
                request.is_repeat = True
                return None
            return ToolResult(f"The call was not made: {_unavailable(self._spec, str(error))}", is_error=True)
        except OutcomeUnknown as error:
            self._doubt()
            return _unknown_outcome(self._spec, str(error))

    async def _make_call(self, session: Session, request: ToolRequest, call: Call) -> JSON:
        """Make the call, and make it again with the state that the server returns as long as this is all it wants."""
        state = None
        for pause in (*_RETRY_PAUSES, None):
            request.request_id = session.next_id()
            raw = await session.call(request.tool, request.arguments, call, request.request_id, state)
            state = retry_state(raw)
            if state is None or pause is None:
                break
            await asyncio.sleep(pause)
        return raw

    async def _abandon(self, session: Session, request_id: int) -> None:
        if await session.abandon(request_id, CANCEL_GRACE):
            self._doubt()
            if self._is_over:
                self._queue.put_nowait(None)


def _fail(request: ListRequest, reason: str) -> None:
    if not request.answer.done():
        request.answer.set_exception(ToolsUnavailable(reason))


def _user_of_server(user: str, server: str) -> str:
    """Return what stands for the user to this server: two servers cannot tell that they have the same user."""
    return hashlib.sha256(f"{user}\0{server}".encode()).hexdigest()[: len(user)]


def _unavailable(spec: ServerSpec, reason: str) -> str:
    """Return the sentence that models and people see."""
    return f"The MCP server {spec.name!r} is not available: {redact(reason, spec)}."


def _unknown_outcome(spec: ServerSpec, reason: str) -> ToolResult:
    return ToolResult(
        f"The outcome of this call is unknown, it may or may not have taken effect: the MCP server "
        f"{spec.name!r} gave no result, and {redact(reason, spec)}. "
        "Check before you call it again.",
        is_error=True,
    )


def _reason(error: BaseException) -> str:
    """Return what went wrong, as the end of a sentence."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ConnectFailed):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"it did not answer within {CONNECT_TIMEOUT:g} seconds"
    return f"the connection to it failed ({type(error).__name__})"

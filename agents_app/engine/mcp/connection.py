"""A server as all runs of an event loop share it: connected at its first use, and again after each failure.

The SDK's context managers must be left by the task that entered them: one task owns the connection, and whoever wants
something of the server puts it into that task's queue.
"""

import asyncio
import contextlib
import contextvars
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from agents_app.engine.mcp.calls import Call, Listing, Live, Stop, Work, unavailable
from agents_app.engine.mcp.session import About, Session, opened, transport_to
from agents_app.engine.mcp.tool_names import Caller, tools_of
from agents_app.engine.mcp.transports.base import Transport, Unusable
from agents_app.engine.spec import JSON, ServerSpec
from agents_app.engine.toolset import Tool, ToolResult, ToolsUnavailable
from agents_app.observability import metrics

logger = logging.getLogger("agents_app.mcp")

IDLE_TIMEOUT = 600.0  # seconds without a call before a connection is closed
CONNECT_TIMEOUT = 30.0  # npx downloads at its first start
RESTART_INTERVAL = 1.0  # seconds between two starts of one server; whoever asks meanwhile is told the last failure
TIMEOUT_PAUSE = 10.0  # the same after a time-out, which would cost each turn of a model as much again
CLOSE_TIMEOUT = 4.5


class Server:
    """One server, in one event loop."""

    def __init__(self, spec: ServerSpec, caller: Caller) -> None:
        self.about: About | None = None
        self._spec = spec
        self._caller = caller
        self._works: asyncio.Queue[Work] = asyncio.Queue()
        self._owner: asyncio.Task[None] | None = None
        self._live: Live | None = None
        self._transport: Transport | None = None
        self._tools: tuple[Tool, ...] | None = None
        self._changes = 0  # how often the tools became others
        self._closing = False
        self._failure = ""
        self._started = self._repeat_until = -math.inf

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost with this object."""
        return (self._owner is None or self._owner.done()) and time.monotonic() > self._repeat_until

    @property
    def last_words(self) -> str:
        """The last that the server wrote beside the protocol."""
        return self._transport.last_words if self._transport else ""

    async def tools(self, *, fresh: bool = False) -> tuple[Tool, ...]:
        """The tools as they are now; asked for again only where the server said that they changed, or if `fresh`.

        Raises:
            ToolsUnavailable: the server has none to offer just now.
        """
        if self._tools is not None and not fresh:
            return self._tools
        return await self._ask(Listing(asyncio.get_running_loop().create_future()))

    async def call(self, tool: str, arguments: JSON, progress: Callable[[str], None]) -> ToolResult:
        """Call a tool by the server's own name of it. Cancel the task that waits here to cancel the call.

        Raises:
            ToolsUnavailable: there is no connection to the server.
        """
        return await self._ask(Call(tool, arguments, progress, asyncio.get_running_loop().create_future()))

    async def close(self) -> None:
        """Close the connection, with what goes on in it; within `CLOSE_TIMEOUT` and a little."""
        self._closing = True
        if self._owner is None or self._owner.done():
            return
        if self._live is None:
            self._owner.cancel()
        else:
            self._works.put_nowait(self._live.stop)
        _, alive = await asyncio.wait({self._owner}, timeout=CLOSE_TIMEOUT)
        if alive:
            self._owner.cancel()
            await asyncio.wait({self._owner}, timeout=1)

    async def _ask(self, work: Any) -> Any:
        if self._spec.problem:
            raise ToolsUnavailable(self._spec.problem)
        if self._owner is None or self._owner.done():
            if time.monotonic() < self._repeat_until:
                raise ToolsUnavailable(self._failure)
            # A clean context: what the first caller is about, its transaction for one, is not the connection's.
            self._owner = asyncio.get_running_loop().create_task(
                self._own(), name=f"MCP server {self._spec.name}", context=contextvars.Context()
            )
        self._works.put_nowait(work)
        return await work.answer

    async def _own(self) -> None:
        try:
            while self._next_waits() and not self._closing:
                await self._connect_and_serve()
        finally:
            self._refuse_waiting(unavailable(self._spec, "it is being closed"))

    def _next_waits(self) -> bool:
        """Whether there is work for a new session; what nobody waits for any more is forgotten."""
        waiting = [self._works.get_nowait() for _ in range(self._works.qsize())]
        for work in waiting:
            if not isinstance(work, Stop) and not work.answer.done():
                self._works.put_nowait(work)
        return not self._works.empty()

    def _refuse_waiting(self, reason: str) -> None:
        while not self._works.empty():
            work = self._works.get_nowait()
            if not isinstance(work, Stop) and not work.answer.done():
                work.answer.set_exception(ToolsUnavailable(reason))

    async def _connect_and_serve(self) -> None:
        """One session, from the first work to its end; where there is none to be had, whoever waits is told."""
        await asyncio.sleep(max(0.0, self._started + RESTART_INTERVAL - time.monotonic()))
        self._started = time.monotonic()
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    live = await self._connect(stack)
                self._live = live
                metrics.MCP_CONNECTIONS.labels("ok").inc()
                await self._serve(live)
        except Exception as error:  # of the SDK, in groups: whatever it is, the next use connects again
            text = unavailable(self._spec, _reason(error))
            logger.warning("%s", text)
            if self._live is None:
                metrics.MCP_CONNECTIONS.labels("failed").inc()
                pause = TIMEOUT_PAUSE if isinstance(error, TimeoutError) else RESTART_INTERVAL
                self._failure, self._repeat_until = text, time.monotonic() + pause
                self._refuse_waiting(text)
        finally:
            self._forget_tools()
            if self._live is not None:
                ended, self._live = self._live, None
                await ended.settle()

    async def _connect(self, stack: contextlib.AsyncExitStack) -> Live:
        stop = Stop()

        def end() -> None:
            self._forget_tools()
            self._works.put_nowait(stop)

        self._transport = transport_to(self._spec)
        session = await stack.enter_async_context(
            opened(self._transport, on_end=end, on_tools_changed=self._forget_tools)
        )
        await self._list(session)
        self.about = session.about
        logger.info("The MCP server %r is connected: %s", self._spec.name, self.about)
        return Live(
            self._spec, session, self._works, stop, lambda work: self._answer(session, work), self._forget_tools
        )

    async def _serve(self, live: Live) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_TIMEOUT):
                    work = await self._works.get()
            except TimeoutError:
                if live.running == 0:
                    return
                continue
            if work is live.stop:
                return
            if isinstance(work, Stop) or work.answer.done():
                continue
            if live.is_over:
                self._works.put_nowait(work)
                return
            live.begin(work)

    async def _answer(self, session: Session, listing: Listing) -> None:
        answer = listing.answer
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                tools = await self._list(session)
            if not answer.done():
                answer.set_result(tools)
        except (Unusable, TimeoutError) as error:
            if not answer.done():
                answer.set_exception(ToolsUnavailable(unavailable(self._spec, _reason(error))))

    async def _list(self, session: Session) -> tuple[Tool, ...]:
        changes = self._changes
        tools = tools_of(self._spec, await session.list_tools(), self._caller)
        if changes == self._changes:
            self._tools = tools
        return tools

    def _forget_tools(self) -> None:
        self._changes += 1
        self._tools = None


def _reason(error: BaseException) -> str:
    """What went wrong, as the end of a sentence."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Unusable):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"it did not answer within {CONNECT_TIMEOUT:g} seconds"
    return f"the connection to it failed ({type(error).__name__})"

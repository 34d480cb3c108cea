"""What goes on in one session: calls, all at the same time, and what becomes of those that nobody waits for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from agents_app.engine.mcp.redaction import redacted
from agents_app.engine.mcp.results import tool_result
from agents_app.engine.mcp.session import NotDelivered, OutcomeUnknown, Refused, Session
from agents_app.engine.spec import JSON, ServerSpec
from agents_app.engine.toolset import Tool, ToolResult, ToolsUnavailable

logger = logging.getLogger("agents_app.mcp")

CANCEL_GRACE = 0.3  # seconds to answer what was cancelled: a server that goes on is stopped half a second after Stop
_SETTLE_TIMEOUT = 1.0
_CLOSED = "the connection to it was closed"


@dataclass(eq=False)
class Call:
    """A call that somebody waits for; to cancel `answer` is to cancel the call."""

    tool: str
    arguments: JSON
    progress: Callable[[str], None]
    answer: "asyncio.Future[ToolResult]"
    repeated: bool = False


@dataclass(eq=False)
class Listing:
    """Somebody wants to know the tools as they are now."""

    answer: "asyncio.Future[tuple[Tool, ...]]"


@dataclass(eq=False)
class Stop:
    """The session that has this one for its `stop` is over."""


Work = Call | Listing | Stop


class Live:
    """One session's calls. `works` is where its end is told, and a call goes that another session must make.

    `on_doubt` is called when something went wrong after which the session is closed, as soon as no call runs.
    """

    def __init__(
        self,
        spec: ServerSpec,
        session: Session,
        works: "asyncio.Queue[Work]",
        stop: Stop,
        list_tools: Callable[[Listing], Awaitable[None]],
        on_doubt: Callable[[], None],
    ) -> None:
        self.stop = stop
        self.running = 0
        self._spec = spec
        self._session = session
        self._works = works
        self._list_tools = list_tools
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_doubt = on_doubt
        self._is_doubtful = False

    @property
    def is_over(self) -> bool:
        return self._is_doubtful and self.running == 0

    def begin(self, work: Call | Listing) -> None:
        """Do it, in a task of its own."""
        self.running += 1
        task = self._spawn(self._call(work) if isinstance(work, Call) else self._list(work))
        task.add_done_callback(self._ended)
        work.answer.add_done_callback(lambda answer: task.cancel() if answer.cancelled() else None)

    async def settle(self) -> None:
        """The session is closed: see that nobody waits for it, and nothing is left."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SETTLE_TIMEOUT)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _ended(self, _: object) -> None:
        self.running -= 1
        self._stop_if_over()

    def _doubt(self) -> None:
        self._is_doubtful = True
        self._on_doubt()

    def _stop_if_over(self) -> None:
        if self.is_over:
            self._works.put_nowait(self.stop)

    async def _list(self, work: Listing) -> None:
        try:
            await self._list_tools(work)
        except asyncio.CancelledError:
            if not work.answer.done():  # it is the session that ends
                work.answer.set_exception(ToolsUnavailable(unavailable(self._spec, _CLOSED)))
            raise
        if not work.answer.cancelled() and work.answer.exception() is not None:
            self._doubt()

    async def _call(self, call: Call) -> None:
        request_id = self._session.next_id()
        result = self._unknown(_CLOSED)
        try:
            result = await self._result(call, request_id)
        except _AskAnother:
            self._works.put_nowait(self.stop)
            self._works.put_nowait(call)
            return
        except asyncio.CancelledError:
            if not call.answer.cancelled():  # it is the session that ends
                call.answer.set_result(result)
            else:
                self._spawn(self._forsake(request_id))
            raise
        except Exception as error:  # of the SDK; whoever waits must be told
            logger.error("A call of %s failed: %s", self._spec.name, redacted(repr(error), self._spec))
            self._doubt()
        if not call.answer.done():
            call.answer.set_result(result)

    async def _result(self, call: Call, request_id: int) -> ToolResult:
        try:
            return tool_result(await self._session.call(call.tool, call.arguments, call.progress, request_id))
        except Refused as error:
            return ToolResult(str(error), is_error=True)
        except NotDelivered as error:
            self._doubt()
            if error.forgotten and not call.repeated:
                call.repeated = True
                raise _AskAnother from None
            text = f"The call was not made: {unavailable(self._spec, str(error))}"
            return ToolResult(text, is_error=True)
        except OutcomeUnknown as error:
            self._doubt()
            return self._unknown(str(error))

    def _unknown(self, reason: str) -> ToolResult:
        return ToolResult(
            f"The outcome of this call is unknown, it may or may not have taken effect: the MCP server "
            f"{self._spec.name!r} did not answer it, and {redacted(reason, self._spec)}. "
            "Check before you call it again.",
            is_error=True,
        )

    async def _forsake(self, request_id: int) -> None:
        if await self._session.forsake(request_id, CANCEL_GRACE):
            self._doubt()
            self._stop_if_over()


class _AskAnother(Exception):
    """This session cannot make the call, and another could."""


def unavailable(spec: ServerSpec, reason: str) -> str:
    """The sentence that the model and whoever watches are told."""
    return f"The MCP server {spec.name!r} is not available: {redacted(reason, spec)}."

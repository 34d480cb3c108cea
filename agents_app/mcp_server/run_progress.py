"""Waiting for a run: its steps are told as progress, its end is the answer."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from agents_app import event_log, runs
from agents_app.access import revocation
from agents_app.api.streams import batches
from agents_app.database.errors import storage_errors
from agents_app.engine.toolset import ToolResult
from agents_app.event_log import Event, EventData
from agents_app.event_log.vocabulary import (
    ApprovalRequired,
    ApprovalResolved,
    ReasoningStart,
    ReasoningStep,
    Retry,
)
from agents_app.exceptions import AgentError, SessionNotFound
from agents_app.mcp_server.database import database
from agents_app.mcp_server.requests import Asking
from agents_app.models import Run, Step

Report = Callable[[float, float | None, str | None], Awaitable[None]]

HEARTBEAT = 10.0  # seconds: clients give up after 60 in which they hear of no progress
_A_LITTLE = 0.001  # progress: numbers must grow, and whole ones are events of the log
_FIRST_LOOK, _LAST_LOOK = 0.05, 5.0  # seconds
_SHOWN = 300  # characters
_GOES_ON = "The run goes on: ask get_run, with its run_id, for what came of it."
_NEEDS_PERSON = "A person must approve the tool call {tool} before the run goes on; then ask get_run for the answer."


def told(content: dict[str, Any], *, text: str | None = None, is_error: bool = False) -> ToolResult:
    """A result for programs, and the same, or `text`, for models."""
    return ToolResult(text or json.dumps(content, ensure_ascii=False), is_error=is_error, details=content)


class Waiting:
    """One client that waits for one run.

    `seen`: the progress of a client that was told of the run's beginning before. `owns`: the run is what the client
    asked for, so that it is stopped where the client says, by closing the connection, that it is not wanted any more.
    """

    def __init__(
        self, run: Run, asking: Asking, report: Report, *, seen: float | None = None, owns: bool = True
    ) -> None:
        self._run = run
        self._asking = asking
        self._report = report
        self._seen = seen or 0.0
        self._told_at = time.monotonic()
        self._is_new = seen is None
        self._owns = owns
        self._base = event_log.before_run(run)
        self._pending: dict[str, str] = {}  # calls that a person must approve: their tools
        self._asked_for = asyncio.Event()

    async def until_end(self, seconds: float | None) -> ToolResult:
        """How the run stands at its end, when it waits for a person, or after so many seconds."""
        try:
            if self._is_new and self._owns:
                text = f"Run {self._run.pk} in session {self._run.session_id} is {self._run.status}."
                await self._tell(self._seen + _A_LITTLE, text)
            if not self._run.is_finished and seconds != 0:
                with anyio.move_on_after(seconds):
                    await self._follow()
        except asyncio.CancelledError:
            if self._owns and self._asking.gone and self._asking.closing_cancels:
                with anyio.CancelScope(shield=True):
                    await self._stop()
            raise
        return self._answer(await database.run(_row, self._run))

    async def _stop(self) -> None:
        with contextlib.suppress(AgentError):
            await database.run(runs.cancel, self._run, by=self._asking.user.get_username())

    async def _follow(self) -> None:
        problem: AgentError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._until_parked, group.cancel_scope)
            try:
                await self._until_last_frame()
            except AgentError as error:  # as itself: the group would wrap it
                problem = error
            group.cancel_scope.cancel()
        if problem is not None:
            raise problem

    async def _until_parked(self, scope: anyio.CancelScope) -> None:
        """End the waiting where the run waits for a person. The frames that ask come before the row says so."""
        while True:
            await self._asked_for.wait()
            pause = _FIRST_LOOK
            while self._pending:
                with contextlib.suppress(AgentError):
                    if (await database.run(_row, self._run)).status == Run.Status.WAITING:
                        scope.cancel()
                        return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_LOOK)
            self._asked_for.clear()

    async def _until_last_frame(self) -> None:
        """Read the run to its end.

        Raises:
            NotWelcome: the client may not listen any more.
            SessionNotFound: the session was deleted.
        """
        with revocation.staying(self._asking.caller) as gone:
            followed = event_log.follow_run(self._run, self._base + int(self._seen))
            async with contextlib.aclosing(batches(followed, gone, pause=HEARTBEAT)) as read:  # type: ignore[type-var]
                async for events in read:
                    for event in events:
                        await self._take(event)
                    if time.monotonic() > self._told_at + HEARTBEAT:
                        await self._tell(self._seen + _A_LITTLE, "The run goes on.")

    async def _take(self, event: Event) -> None:
        if event.frame.is_delta:
            return
        data = event.data
        if text := _line(data):
            await self._tell(float(event.seq - self._base), text)
        match data:
            case ApprovalRequired():
                self._pending[data.tool_call_id] = data.tool_name
                self._asked_for.set()
            case ApprovalResolved():
                self._pending.pop(data.tool_call_id, None)

    async def _tell(self, progress: float, text: str) -> None:
        if progress > self._seen:
            self._seen, self._told_at = progress, time.monotonic()
            await self._report(round(progress, 3), None, text)

    def _answer(self, run: Run) -> ToolResult:
        content = {"run_id": str(run.pk), "session_id": run.session_id, "status": str(run.status)}
        match run.status:
            case Run.Status.COMPLETED:
                return told(content | {"result": run.result}, text=run.result)
            case Run.Status.FAILED:
                return told(content | {"error": run.error}, text=f"The run failed: {run.error}", is_error=True)
            case Run.Status.CANCELLED:
                return told(content, text="The run was cancelled.", is_error=True)
            case Run.Status.WAITING:
                named = ", ".join(self._pending.values()) or "that it wants to make"
                return told(content | {"note": _NEEDS_PERSON.format(tool=named)})
        return told(content | {"note": _GOES_ON})


def _row(run: Run) -> Run:
    """The run as it is now.

    Raises:
        SessionNotFound: it was deleted.
    """
    with storage_errors():
        found = Run.objects.filter(pk=run.pk).first()
    if found is None:
        raise SessionNotFound("The run's session was deleted.")
    return found


def _line(data: EventData | None) -> str:
    """Describe an event to people in a line; empty if they need not know it."""
    match data:
        case ReasoningStart():
            return f"{data.agent} has begun."
        case ReasoningStep(type=Step.Kind.THOUGHT):
            return " ".join(data.content.split())[:_SHOWN]
        case ReasoningStep(type=Step.Kind.TOOL_USE):
            return f"Calls {data.tool_name}."
        case ReasoningStep(type=Step.Kind.TOOL_RESULT):
            return f"{data.tool_name} {'failed' if data.is_error is True else 'has answered'}."
        case Retry():
            return f"The model is asked again: {data.reason}"[:_SHOWN]
        case ApprovalRequired():
            return f"A person must approve {data.tool_name}."
    return ""

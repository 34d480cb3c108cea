"""Wait for a run: report its steps as progress, and its end as the result."""

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
from agents_app.mcp_server import files
from agents_app.mcp_server.database import database
from agents_app.mcp_server.requests import McpRequest
from agents_app.models import Run, Step

Report = Callable[[float, float | None, str | None], Awaitable[None]]

HEARTBEAT = 10.0  # seconds: clients give up after 60 without progress
_STEP = 0.001  # of progress, which must grow: whole numbers are events of the log
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # seconds
_LONGEST_LINE = 300  # characters
_STILL_RUNNING = "The run is still running: call get_run with its run_id for the result."
_NEEDS_PERSON = "A person must approve the tool call {tool} before the run continues; then call get_run for the result."


def tool_result(content: dict[str, Any], *, text: str | None = None, is_error: bool = False) -> ToolResult:
    """Return a result with `content` for programs, and the same as JSON, or `text`, for models."""
    return ToolResult(text or json.dumps(content, ensure_ascii=False), is_error=is_error, details=content)


class RunProgress:
    """One client that waits for one run.

    `seen` is the progress that the client has received already, if it resumes. `owns` says that this request started
    the run, so that a disconnect that cancels the request cancels the run.
    """

    def __init__(
        self, run: Run, request: McpRequest, report: Report, *, seen: float | None = None, owns: bool = True
    ) -> None:
        self._run = run
        self._request = request
        self._report = report
        self._seen = seen or 0.0
        self._reported_at = time.monotonic()
        self._is_new = seen is None
        self._owns = owns
        self._base = event_log.before_run(run)
        self._session_id = run.session.address_for(request.user)
        self._pending: dict[str, str] = {}  # calls that a person must approve: their tools
        self._approval_requested = asyncio.Event()

    async def until_end(self, seconds: float | None) -> ToolResult:
        """Return the run's state at its end, when it waits for a person, or after `seconds`."""
        try:
            if self._is_new and self._owns:
                text = f"Run {self._run.pk} in session {self._session_id} is {self._run.status}."
                await self._report_progress(self._seen + _STEP, text)
            if not self._run.is_finished and seconds != 0:
                with anyio.move_on_after(seconds):
                    await self._follow()
        except asyncio.CancelledError:
            if self._owns and self._request.is_disconnected and self._request.disconnect_cancels:
                with anyio.CancelScope(shield=True):
                    await self._cancel()
            raise
        return self._result(*await database.run(_row_with_files, self._run, self._request))

    async def _cancel(self) -> None:
        with contextlib.suppress(AgentError):
            await database.run(runs.cancel, self._run, by=self._request.user.get_username())

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
        """Stop waiting when the run waits for a person. The frames that request it come before the row says so."""
        while True:
            await self._approval_requested.wait()
            pause = _FIRST_PAUSE
            while self._pending:
                with contextlib.suppress(AgentError):
                    if (await database.run(_row, self._run)).status == Run.Status.WAITING:
                        scope.cancel()
                        return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            self._approval_requested.clear()

    async def _until_last_frame(self) -> None:
        """Follow the run to its end.

        Raises:
            AuthenticationExpired: the client's token expired or was revoked.
            SessionNotFound: the session was deleted, or is not visible to the client any more.
        """
        with revocation.watch(self._request.caller, self._run.session_id) as revoked:
            stream = event_log.follow_run(self._run, self._base + int(self._seen))
            async with contextlib.aclosing(batches(stream, revoked, pause=HEARTBEAT)) as batches_of_run:  # type: ignore[type-var]
                async for events in batches_of_run:
                    for event in events:
                        await self._handle(event)
                    if time.monotonic() > self._reported_at + HEARTBEAT:
                        await self._report_progress(self._seen + _STEP, "The run continues.")

    async def _handle(self, event: Event) -> None:
        if event.frame.is_delta:
            return
        data = event.data
        if text := _line(data):
            await self._report_progress(float(event.seq - self._base), text)
        match data:
            case ApprovalRequired():
                self._pending[data.tool_call_id] = data.tool_name
                self._approval_requested.set()
            case ApprovalResolved():
                self._pending.pop(data.tool_call_id, None)

    async def _report_progress(self, progress: float, text: str) -> None:
        if progress > self._seen:
            self._seen, self._reported_at = progress, time.monotonic()
            await self._report(round(progress, 3), None, text)

    def _result(self, run: Run, links: list[files.Link]) -> ToolResult:
        content: dict[str, Any] = {
            "run_id": str(run.pk), "session_id": self._session_id, "status": str(run.status)
        }  # fmt: skip
        if links:
            content["files"] = links
        match run.status:
            case Run.Status.COMPLETED:
                return tool_result(content | {"result": run.result}, text=run.result)
            case Run.Status.FAILED:
                return tool_result(content | {"error": run.error}, text=f"The run failed: {run.error}", is_error=True)
            case Run.Status.CANCELLED:
                return tool_result(content, text="The run was cancelled.", is_error=True)
            case Run.Status.WAITING:
                tools = ", ".join(self._pending.values()) or "that it requests"
                return tool_result(content | {"note": _NEEDS_PERSON.format(tool=tools)})
        return tool_result(content | {"note": _STILL_RUNNING})


def _row_with_files(run: Run, request: McpRequest) -> tuple[Run, list[files.Link]]:
    current = _row(run)
    with storage_errors():
        return current, files.links(current, request)


def _row(run: Run) -> Run:
    """Return the run as it is now.

    Raises:
        SessionNotFound: it was deleted.
    """
    with storage_errors():
        current = Run.objects.filter(pk=run.pk).first()
    if current is None:
        raise SessionNotFound("The run's session was deleted.")
    return current


def _line(data: EventData | None) -> str:
    """Return an event as a line for people; empty for events that they need not see."""
    match data:
        case ReasoningStart():
            return f"{data.agent} has started."
        case ReasoningStep(type=Step.Kind.THOUGHT):
            return " ".join(data.content.split())[:_LONGEST_LINE]
        case ReasoningStep(type=Step.Kind.TOOL_USE):
            return f"Calls {data.tool_name}."
        case ReasoningStep(type=Step.Kind.TOOL_RESULT):
            return f"{data.tool_name} {'failed' if data.is_error is True else 'has answered'}."
        case Retry():
            return f"The model request is retried: {data.reason}"[:_LONGEST_LINE]
        case ApprovalRequired():
            return f"A person must approve {data.tool_name}."
    return ""

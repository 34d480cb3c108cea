"""Waiting for a run: its steps are told as progress, its end is the answer."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import orjson

from agents_app import runs
from agents_app.access import revocation
from agents_app.api.streams import batches
from agents_app.database.errors import storage_errors
from agents_app.engine.toolset import ToolResult
from agents_app.exceptions import AgentError, SessionNotFound
from agents_app.live import Frame
from agents_app.mcp_server.database import database
from agents_app.mcp_server.requests import Asking
from agents_app.models import Run

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
        self._base = run.session.last_seq if run.first_seq is None else run.first_seq - 1
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
            said = batches(self._run.session_id, self._base + int(self._seen), gone, pause=HEARTBEAT)
            async with contextlib.aclosing(said):  # type: ignore[type-var]
                async for frames in said:
                    if any([await self._is_last(frame) for frame in frames]):
                        return
                    if time.monotonic() > self._told_at + HEARTBEAT:
                        await self._tell(self._seen + _A_LITTLE, "The run goes on.")

    async def _is_last(self, frame: Frame) -> bool:
        """Tell what a frame says; whether it is the run's last."""
        if frame.is_delta or (body := orjson.loads(frame.text))["run_id"] != str(self._run.pk):
            return False
        await self._take(frame.seq, body)
        return body["type"] == "reasoning_complete"

    async def _take(self, seq: int, body: dict[str, Any]) -> None:
        if text := _line(body):
            await self._tell(float(seq - self._base), text)
        if body["type"] == "approval_required":
            self._pending[body["data"]["tool_call_id"]] = body["data"]["tool_name"]
            self._asked_for.set()
        elif body["type"] == "approval_resolved":
            self._pending.pop(body["data"]["tool_call_id"], None)

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


def _line(body: dict[str, Any]) -> str:
    """What a frame tells people, in a line; empty for what they need not know."""
    data = body["data"]
    match body["type"], data.get("type"):
        case "reasoning_start", _:
            return f"{data['agent']} has begun."
        case "reasoning_step", "thought":
            return " ".join(data["content"].split())[:_SHOWN]
        case "reasoning_step", "tool_use":
            return f"Calls {data['tool_name']}."
        case "reasoning_step", "tool_result":
            return f"{data['tool_name']} {'failed' if data.get('is_error') else 'has answered'}."
        case "retry", _:
            return f"The model is asked again: {data['reason']}"[:_SHOWN]
        case "approval_required", _:
            return f"A person must approve {data['tool_name']}."
    return ""

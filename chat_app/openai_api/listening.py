"""Waiting for a run: its frames as they come, and what becomes of it when the client that asked for it goes away."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson

from agents_app import runs
from agents_app.access import revocation
from agents_app.access.callers import Caller
from agents_app.api.streams import PING_INTERVAL, batches
from agents_app.background import spawn
from agents_app.database.errors import storage_errors
from agents_app.exceptions import AgentError, InvalidRequest
from agents_app.models import Run
from chat_app.openai_api.endpoint import RunEndedBadly, database

logger = logging.getLogger(__name__)

Body = dict[str, Any]

LAST = "reasoning_complete"
PATIENCE = 5.0  # seconds that a stream waits for the run's first word, so that an early failure can be a status
_SPEAKS = {"reasoning_delta", "reasoning_step", "response", "approval_required", LAST}


class Listener:
    """One client that waits for one run. `abandons`: if it goes away, nobody wants the answer: the run is stopped.

    Made in the task of the client's request.
    """

    def __init__(self, run: Run, caller: Caller, *, abandons: bool = False) -> None:
        self.run = run
        self.caller = caller
        self.ended = False
        if abandons:
            request = asyncio.current_task()
            assert request is not None
            request.add_done_callback(lambda _: self._left(), context=contextvars.Context())

    def _left(self) -> None:
        """The request is over, whether it was answered or its client has gone."""
        if not self.ended:
            spawn(_cancel(self.run, self.caller.user.get_username()))

    def frames(self) -> AsyncIterator[list[Body]]:
        """The run's frames from its first to its last; an empty list where it has said nothing for a while.

        Raises:
            InvalidRequest: they were pruned.
            SessionNotFound: later, if the session is deleted meanwhile.
            NotWelcome: later, if the client may not listen any more.
        """
        run = self.run
        if run.is_finished and run.first_seq is not None and run.session.pruned_seq >= run.first_seq:
            raise InvalidRequest("What this run said was pruned; ask without 'stream'.", param="stream", code="pruned")
        return self._frames(run.session.last_seq if run.first_seq is None else run.first_seq - 1)

    async def _frames(self, after: int) -> AsyncIterator[list[Body]]:
        wanted = str(self.run.pk)
        clock = asyncio.get_running_loop().time
        pause = PATIENCE
        due = clock() + pause
        with revocation.staying(self.caller) as gone:
            said = batches(self.run.session_id, after, gone, pause=PATIENCE)
            async with contextlib.aclosing(said):  # type: ignore[type-var]
                async for batch in said:
                    bodies = [body for frame in batch if (body := orjson.loads(frame.text))["run_id"] == wanted]
                    self.ended = self.ended or any(body["type"] == LAST for body in bodies)
                    if bodies or clock() >= due:
                        yield bodies
                        pause = pause if bodies else PING_INTERVAL
                        due = clock() + pause
                    if self.ended:
                        return

    async def opening(self) -> tuple[list[Body], AsyncIterator[list[Body]]]:
        """What the run says up to its first word, and the rest. Waits for the word, but not for long.

        Raises:
            RunEndedBadly: it had none.
        """
        rest = self.frames()
        said: list[Body] = []
        async for bodies in rest:
            said += bodies
            if self.ended:
                await self.finished()
            if not bodies or any(body["type"] in _SPEAKS for body in bodies):
                break
        return said, rest

    async def wait(self) -> Run:
        """The run as it has ended.

        Raises:
            RunEndedBadly: not well.
        """
        if not self.run.is_finished:
            async for _ in self.frames():
                pass
        self.ended = True
        return await self.finished()

    async def finished(self) -> Run:
        """The row of the ended run.

        Raises:
            RunEndedBadly: it was cancelled, or failed with nothing to show for it.
        """
        run = await database.run(row, self.run)
        if run.status == Run.Status.CANCELLED or (run.status == Run.Status.FAILED and cut_short(run) is None):
            raise RunEndedBadly(run)
        return run


def row(run: Run) -> Run:
    """The run as it is now."""
    with storage_errors():
        return Run.objects.select_related("session").get(pk=run.pk)


def cut_short(run: Run) -> str | None:
    """Why an answer is not whole, where that is no failure in OpenAI's eyes: `length` or `content_filter`."""
    if run.error_code == "content_filter":
        return "content_filter"
    return "length" if run.truncated or run.error_code == "max_tokens" else None


async def _cancel(run: Run, by: str) -> None:
    try:
        await database.run(runs.cancel, run, by=by)
    except AgentError as error:
        logger.warning("Run %s was abandoned and could not be stopped: %s", run.pk, error)

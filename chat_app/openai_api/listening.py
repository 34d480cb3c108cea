"""Follow a run to its end, and cancel it if the client that waits for it disconnects."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncIterator

from agents_app import event_log, runs
from agents_app.access import revocation
from agents_app.access.callers import Caller
from agents_app.api.streams import PING_INTERVAL, batches
from agents_app.background import spawn
from agents_app.database.errors import storage_errors
from agents_app.event_log import Event, EventType
from agents_app.event_log.vocabulary import ActionRequired, ApprovalRequired, ReasoningStep
from agents_app.exceptions import AgentError, InvalidRequest
from agents_app.models import Approval, Run, Step
from chat_app.openai_api.endpoint import RunNotCompleted, database
from chat_app.openai_api.segments import Segment

logger = logging.getLogger(__name__)

FIRST_TEXT_TIMEOUT = 5.0  # seconds to wait for the first text, so that an early failure can be an HTTP status
_FIRST_TEXT = {
    EventType.REASONING_DELTA,
    EventType.REASONING_STEP,
    EventType.RESPONSE,
    EventType.APPROVAL_REQUIRED,
    EventType.ACTION_REQUIRED,
    EventType.REASONING_COMPLETE,
}
_CALLS = {
    EventType.REASONING_STEP,
    EventType.APPROVAL_REQUIRED,
    EventType.ACTION_REQUIRED,
}


class CallsOfClient:
    """Notices that a run waits for the client alone, or for people beside it: its own calls have their results."""

    def __init__(self) -> None:
        self._own: set[tuple[int, str]] = set()
        self._are_known = False

    @property
    def are_waiting(self) -> bool:
        return self._are_known and not self._own

    def feed(self, event: Event) -> None:
        if event.type not in _CALLS:
            return
        match event.data:
            case ReasoningStep(type=Step.Kind.TOOL_USE) as step:
                self._own.add((step.iteration, str(step.tool_call_id)))
            case ReasoningStep(type=Step.Kind.TOOL_RESULT) as step:
                self._own.discard((step.iteration, str(step.tool_call_id)))
            case ActionRequired() as action:
                self._forget(action.tool_call_id)
                self._are_known = self._are_known or action.kind == Approval.Kind.CLIENT_TOOL
            case ApprovalRequired() as approval:
                self._forget(approval.tool_call_id)

    def _forget(self, tool_call_id: str) -> None:
        self._own = {each for each in self._own if each[1] != tool_call_id}


class RunFollower:
    """One client that waits for one segment of a run. Must be made in the task of the client's request.

    `cancel_on_disconnect`: cancel the run if the client disconnects, because nobody else can read the answer.
    `has_calls`: the run waits for the results of the client's calls.
    """

    def __init__(self, segment: Segment, caller: Caller, *, cancel_on_disconnect: bool = False) -> None:
        self.run = segment.run
        self.caller = caller
        self.ended = False
        self.has_calls = False
        self._first_seq = segment.first_seq
        self._calls = CallsOfClient()
        if cancel_on_disconnect:
            request = asyncio.current_task()
            assert request is not None
            request.add_done_callback(lambda _: self._on_request_done(), context=contextvars.Context())

    def _on_request_done(self) -> None:
        """The request was answered, or its client has disconnected."""
        if not self.ended and not self.has_calls:
            spawn(_cancel(self.run, self.caller.user.get_username()))

    def events(self) -> AsyncIterator[list[Event]]:
        """Return the segment's events from its first to its last; an empty list if there was none for a while.

        Raises:
            InvalidRequest: they were pruned.
            SessionNotFound: while iterating, if the session is deleted.
            AuthenticationExpired: while iterating, if the client's access is revoked.
        """
        run = self.run
        first_seq = self._first_seq or run.first_seq
        if run.is_finished and first_seq is not None and run.session.pruned_seq >= first_seq:
            raise InvalidRequest(
                "The events of this run were pruned: repeat the request without 'stream'.",
                param="stream",
                code="pruned",
            )
        return self._events()

    async def _events(self) -> AsyncIterator[list[Event]]:
        after = self._first_seq - 1 if self._first_seq else event_log.before_run(self.run)
        followed = event_log.follow_run(self.run, after)
        clock = asyncio.get_running_loop().time
        pause = FIRST_TEXT_TIMEOUT
        due = clock() + pause
        with revocation.watch(self.caller, self.run.session_id) as revoked:
            log = batches(followed, revoked, pause=FIRST_TEXT_TIMEOUT)
            async with contextlib.aclosing(log):  # type: ignore[type-var]
                async for events in log:
                    events = self._until_calls(events)
                    if events or clock() >= due:
                        yield events
                        pause = pause if events else PING_INTERVAL
                        due = clock() + pause
                    if self.has_calls:
                        return

    def _until_calls(self, events: list[Event]) -> list[Event]:
        """Return the events up to the one with which the segment ends."""
        for position, event in enumerate(events, start=1):
            self.ended = self.ended or event.ends_run
            self._calls.feed(event)
            if self._calls.are_waiting:
                self.has_calls = True
                return events[:position]
        return events

    async def opening(self) -> tuple[list[Event], AsyncIterator[list[Event]]]:
        """Return the frames up to the first text, and the rest. Wait for the text, but not for long.

        Raises:
            RunNotCompleted: the run ended without any.
        """
        rest = self.events()
        opening: list[Event] = []
        async for events in rest:
            opening += events
            if self.ended:
                await self.finished()
            if not events or any(event.type in _FIRST_TEXT for event in events):
                break
        return opening, rest

    async def wait(self) -> Run:
        """Wait for the segment to end and return the run.

        Raises:
            RunNotCompleted: it was cancelled, or failed without an answer.
        """
        if not self.run.is_finished:
            async for _ in self.events():
                pass
        self.ended = True
        return await self.finished()

    async def finished(self) -> Run:
        """Return the run as it is in the database, after the end of the segment.

        Raises:
            RunNotCompleted: it was cancelled, or failed without an answer.
        """
        run = await database.run(reload, self.run)
        if run.status == Run.Status.CANCELLED or (run.status == Run.Status.FAILED and incomplete_reason(run) is None):
            raise RunNotCompleted(run)
        return run


def reload(run: Run) -> Run:
    """Return the run as it is now."""
    with storage_errors():
        now = Run.objects.select_related("session").get(pk=run.pk)
    now.budget_left = run.budget_left
    return now


def incomplete_reason(run: Run) -> str | None:
    """Return why an answer is cut off, if OpenAI does not count that as a failure: `length` or `content_filter`."""
    if run.error_code == "content_filter":
        return "content_filter"
    return "length" if run.truncated or run.error_code == "max_tokens" else None


async def _cancel(run: Run, by: str) -> None:
    try:
        await database.run(runs.cancel, run, by=by)
    except AgentError as error:
        logger.warning("Could not cancel run %s, whose client disconnected: %s", run.pk, error)

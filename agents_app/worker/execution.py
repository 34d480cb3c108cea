"""Execute one claimed run, from the claim to its end."""

import asyncio
import contextlib
import functools
import logging
from typing import Any

from django.utils import timezone

from agents_app.background import spawn
from agents_app.database.threads import UNAVAILABLE, DatabaseThreads
from agents_app.engine.events import (
    Answer,
    AwaitingApproval,
    Compacted,
    Delta,
    Event,
    Retry,
    RunWarning,
    StepDone,
    ToolsStarting,
)
from agents_app.engine.loop import Turns
from agents_app.event_log import RunLog, vocabulary
from agents_app.exceptions import Fenced, LimitReached, RunFailed, StorageUnavailable
from agents_app.models import Run
from agents_app.models.running_limits import may_be_limited
from agents_app.queue import run_queue
from agents_app.runs import approvals, cancel_children, close_approvals
from agents_app.runs.frames import cancel_events, complete_data
from agents_app.tools.ask_agent import RunChild
from agents_app.tools.toolset import toolset
from agents_app.worker.claims import Claim
from agents_app.worker.opening import open_models
from agents_app.worker.recording import RunRecorder
from agents_app.worker.spending import RunSpending
from agents_app.worker.steering import RunSteering
from agents_app.worker.telemetry import RunTelemetry

logger = logging.getLogger(__name__)

_MOST_TOKENS = 2**31 - 1  # that a column of the run's row holds
MOST_TAKEOVERS = 3  # in a row: a run that stalls each of its workers must not do so forever
MOST_UNWRITABLE = 3  # attempts of a run whose data the database refuses
MOST_ATTEMPTS = 100  # the same for a run that ends the process of the embedded worker


class _HandBack(Exception):
    """The worker stops: hand the run back at this safe point."""


class Execution:
    """One claimed run, executed by a task that begins at once. Whatever happens, the run ends in one of the ways below.

    `run_child` has this worker execute another run, and waits for it.
    """

    def __init__(self, claim: Claim, log: RunLog, database: DatabaseThreads, run_child: RunChild) -> None:
        self.run = claim.run
        self._claim = claim
        self._spec = claim.spec
        self._conversation = claim.conversation
        self._log = log
        self._database = database
        self._calling = {open_tool.index for open_tool in claim.conversation.open_tools if open_tool.started}
        self._run_child = run_child
        self._turns: Turns | None = None
        self._stopping: str | None = None
        self._hand_back = False
        self._ending = False
        self._telemetry = RunTelemetry(claim.run)
        self._spending = RunSpending(claim, log, database)
        self._recorder = RunRecorder(claim, log, database, self._spending)
        self.task = spawn(self._execute())

    def stop(self, reason: str) -> None:
        """Stop now: `cancel` ends the run, `shutdown` hands it back. A run that is ending already just ends."""
        if self._stopping is None and not self._ending:
            self._stopping = reason
            self.task.cancel()

    def hand_back_soon(self) -> None:
        """Hand the run back at the end of its present step."""
        self._hand_back = True

    async def _execute(self) -> None:
        with self._telemetry.bound():
            await self._execute_or_leave()

    async def _execute_or_leave(self) -> None:
        try:
            await self._answer_or_fail()
        except Fenced:
            logger.info("Run %s was taken over by another worker", self.run.pk)
        except StorageUnavailable as error:
            logger.error("Run %s is left for another claim: %s", self.run.pk, error)
            if not isinstance(error.__cause__, UNAVAILABLE):
                await self._end_unwritable()
        except Exception:
            logger.exception("Run %s is left for another claim", self.run.pk)
            await self._end_unwritable()

    async def _end_unwritable(self) -> None:
        """End a run that could not be written three times, though the database works: with no word of its data."""
        if self.run.attempt < MOST_UNWRITABLE:
            return
        self._log = self._recorder.log = self._log.renewed()
        self._turns = self._recorder.turns = None
        with contextlib.suppress(Fenced, StorageUnavailable):
            await self._end_failed("The server could not save what the run produced.", "unwritable")

    async def _answer_or_fail(self) -> None:
        try:
            if self.run.cancel_requested:
                await self._end_cancelled()
            else:
                await self._answer()
        except asyncio.CancelledError:
            if self._stopping == "cancel":
                await self._end_cancelled()
            elif self._stopping == "shutdown":
                await self._release()
            else:
                raise
        except _HandBack:
            await self._release()
        except RunFailed as error:
            await self._end_failed(str(error), error.code)
        except (Fenced, StorageUnavailable):
            raise
        except Exception:
            logger.exception("Run %s failed", self.run.pk)
            await self._end_failed("The server failed to carry out the run (internal error).", "internal_error")

    async def _answer(self) -> None:
        if self._claim.is_broken:
            raise RunFailed("What the run needs cannot be read (internal error).", code="internal_error")
        if self._claim.denial is not None:
            raise self._claim.denial
        assert self._spec is not None
        if self.run.takeovers >= MOST_TAKEOVERS or self.run.attempt > MOST_ATTEMPTS:
            raise RunFailed("The run was abandoned: its workers stopped too many times.", code="too_many_attempts")
        self._recorder.discard_dangling()
        try:
            # Of this attempt only: time without a server, or waiting for a person, does not count.
            async with asyncio.timeout(self._spec.limits.timeout):
                last = await self._follow_turns()
        except TimeoutError:
            text = f"The run took longer than its {self._spec.limits.timeout:g} seconds."
            raise LimitReached(text, code="timeout") from None
        # Outside the time-out: a run ends once.
        if isinstance(last, AwaitingApproval):
            await self._park()
        else:
            await self._end_completed(last)

    async def _follow_turns(self) -> Answer | AwaitingApproval:
        assert self._spec is not None
        models = await open_models(self._spec, self._conversation, self.run.session.owner_id)
        tools = toolset(self._spec, self.run, self._run_child)
        steering = RunSteering(self.run, self._log)
        turns = self._turns = self._recorder.turns = Turns(
            self._spec, self._conversation, models, tools, self._spending, steering
        )
        async with contextlib.aclosing(turns.events()) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Answer | AwaitingApproval):
                    return event
                if type(event) is Delta:
                    if not self._telemetry.has_first_token:
                        self._telemetry.first_token()
                    if self.run.enable_reasoning:
                        self._log.delta(event)
                        if self._log.is_full:
                            await self._log.room()
                else:
                    await self._record(event)
        raise RunFailed("The agent stopped without an answer.", code="no_answer")

    async def _record(self, event: Event) -> None:
        match event:
            case StepDone():
                self._recorder.step_done(event)
                if event.type == "tool_result":
                    self._calling.discard(event.index)
                    await self._log.commit(then=self._recorder.keep_attachments(event))
                if self._hand_back and event.type != "final_answer" and not self._calling:
                    raise _HandBack
            case ToolsStarting():
                if self._hand_back:  # rather ask the model again than not know whether a tool was called
                    raise _HandBack
                self._calling |= {row.index for row in event.results}
                await self._recorder.begin_tools(event)
            case Retry():
                self._recorder.retry(event.steps, event.attempt, event.reason, event.delay)
            case RunWarning():
                await self._recorder.warn(event)
            case Compacted():
                await self._recorder.compacted(event)

    # Ways to end, or to wait

    async def _park(self) -> None:
        """Wait for a person; no worker holds the run meanwhile."""
        self._ending = True
        settle = functools.partial(approvals.settle_parked, self.run)
        changes: dict[str, Any] = {"status": Run.Status.WAITING, "lease_until": None, "worker": "", "takeovers": 0}
        await self._log.commit(then=settle, charge=self._spending.charge(), **changes)
        await self._leave_place()

    async def _end_completed(self, answer: Answer) -> None:
        if not self.run.enable_reasoning:
            self._log.add(vocabulary.Response(answer.content))
        filtered = {"error_code": answer.cut_short} if answer.cut_short == "content_filter" else {}
        truncated = answer.cut_short == "length"
        await self._end(Run.Status.COMPLETED, result=answer.content, truncated=truncated, **filtered)

    async def _end_failed(self, message: str, code: str) -> None:
        if self.run.enable_reasoning:
            index = self._conversation.next_index
            open_steps = self._turns.open_steps if self._turns else []
            now = timezone.now().timestamp()
            index = max([index, *(step + 1 for step in open_steps)])
            step = StepDone(index, "error", self._conversation.iteration, message, now, now, is_error=True)
            self._recorder.step_done(step)
        self._log.add(vocabulary.Error(message=message, code=code))
        await self._end(Run.Status.FAILED, error=message, error_code=code, result=self._partial())

    async def _end_cancelled(self) -> None:
        await self._database.run(self.run.refresh_from_db, fields=["cancelled_by", "cancel_requested_at"])
        events = cancel_events(self.run, self._conversation.usage, self._conversation.iteration)
        self._log.add(events[0])
        await self._end(Run.Status.CANCELLED, result=self._partial())

    async def _end(self, status: Run.Status, **changes: Any) -> None:
        self._ending = True
        usage, iterations = self._conversation.usage, self._conversation.iteration
        cost = self._spending.cost()
        model = self._recorder.model
        self.run.cost = cost
        if model and self._conversation.context_tokens:
            self.run.context_tokens = min(self._conversation.context_tokens, _MOST_TOKENS)
            self.run.context_window = min(model.context_tokens, _MOST_TOKENS)
        self._log.add(complete_data(self.run, status, usage, iterations))
        await self._log.commit(
            then=self._clean_up,
            charge=self._spending.charge(is_last=True),
            status=status,
            **Run.used(usage.as_dict()),
            cost=cost,
            provider=model.provider if model else "",
            model=model.model if model else "",
            context_tokens=self.run.context_tokens,
            context_window=self.run.context_window,
            finished_at=timezone.now(),
            lease_until=None,
            worker="",
            **changes,
        )
        self._telemetry.ended(status, usage, cost, error_code=changes.get("error_code", ""))
        await self._leave_place()

        if self._spec and self._spec.can_ask_agents and status != Run.Status.COMPLETED:
            await self._database.run(cancel_children, self.run, by=self.run.cancelled_by)

    async def _release(self) -> None:
        changes: dict[str, Any] = {"status": Run.Status.QUEUED, "lease_until": None, "worker": "", "takeovers": 0}
        await self._log.commit(then=self._enqueue_next, charge=self._spending.charge(), **changes)

    async def _leave_place(self) -> None:
        """Let a run begin that waited for this one's owner or agent to have a place."""
        if may_be_limited():
            await self._database.run(run_queue.fill_places)

    def _clean_up(self) -> None:
        if self.run.attempt > 1 or self._claim.denial or (self._spec and self._spec.can_wait):
            close_approvals(self.run)
        self._enqueue_next()

    def _enqueue_next(self) -> None:
        run_queue.enqueue_next(self.run.session_id)

    def _partial(self) -> str:
        """Return the answer so far."""
        return self._turns.open_answer if self._turns else ""

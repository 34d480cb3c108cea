"""One claimed run, from the claim to its end."""

import asyncio
import contextlib
import datetime
import functools
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.utils import timezone

from agents_app.database.threads import DatabaseThreads
from agents_app.engine import providers
from agents_app.engine.events import Answer, AwaitingApproval, Delta, Event, Retry, RunWarning, StepDone, ToolsStarting
from agents_app.engine.loop import Turns
from agents_app.event_log import RunLog, vocabulary
from agents_app.exceptions import Fenced, LimitReached, RunFailed, StorageUnavailable
from agents_app.models import Run, Step
from agents_app.runs import approvals, cancel_children, close_approvals, enqueue_next
from agents_app.runs.frames import approval_data, cancel_events, complete_data, step_data
from agents_app.tools.ask_agent import RunChild
from agents_app.tools.toolset import toolset
from agents_app.worker import artifacts
from agents_app.worker.claims import Claim
from agents_app.worker.telemetry import Report

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 100  # a run that ends its worker every time must not do so for ever


class _HandBack(Exception):
    """The worker stops: give the run back at this safe point."""


class Execution:
    """One claimed run, from the claim to its end."""

    task: "asyncio.Task[None]"

    def __init__(self, claim: Claim, log: RunLog, database: DatabaseThreads, run_child: RunChild) -> None:
        self._database = database
        self.run = claim.run
        self.spec = claim.spec
        self.conversation = claim.conversation
        self.dangling = claim.dangling
        self.is_broken = claim.is_broken
        self._tariff = claim.tariff
        self.log = log
        self._calling = {open_tool.index for open_tool in claim.conversation.open_tools if open_tool.started}
        self._run_child = run_child
        self._turns: Turns | None = None
        self._stopping: str | None = None
        self._hand_back = False
        self._ending = False
        self._report = Report(claim.run)

    def stop(self, why: str) -> None:
        """Stop now: for `cancel` the run ends, for `shutdown` it is handed back. What is ending anyway just ends."""
        if self._stopping is None and not self._ending:
            self._stopping = why
            self.task.cancel()

    def hand_back_soon(self) -> None:
        """Hand the run back at the end of the step that it is in."""
        self._hand_back = True

    async def execute(self) -> None:
        """Go through with the run; whatever happens, it ends in one of the ways below."""
        with self._report.about():
            await self._carry_out()

    async def _carry_out(self) -> None:
        try:
            await self._answer_or_fail()
        except Fenced:
            logger.info("Run %s was taken over by another worker", self.run.pk)
        except StorageUnavailable as error:
            logger.error("Run %s is left to be claimed again: %s", self.run.pk, error)
        except Exception:
            logger.exception("Run %s is left to be claimed again", self.run.pk)

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
        if self.is_broken:
            raise RunFailed("What the run needs cannot be read (internal error).", code="internal_error")
        if self.spec is None:
            raise RunFailed(f"The agent {self.run.agent_name!r} does not exist any more.", code="agent_not_found")
        if self.run.attempt > MOST_ATTEMPTS:
            raise RunFailed("The run's workers stopped again and again; it is given up.", code="too_many_attempts")
        self._discard_dangling()
        try:
            # Of this attempt: the time in which no server ran, or a person was waited for, is nobody's fault.
            async with asyncio.timeout(self.spec.limits.timeout):
                last = await self._follow_turns()
        except TimeoutError:
            text = f"The run took longer than its {self.spec.limits.timeout:g} seconds."
            raise LimitReached(text, code="timeout") from None
        # Out of the time-out's reach: a run ends once.
        if isinstance(last, AwaitingApproval):
            await self._park()
        else:
            await self._end_completed(last)

    async def _follow_turns(self) -> Answer | AwaitingApproval:
        assert self.spec is not None
        model = await providers.open_model(self.spec.model)
        tools = toolset(self.spec, self.run, self._run_child)
        turns = self._turns = Turns(self.spec, self.conversation, model, tools)
        async with contextlib.aclosing(turns.events()) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Answer | AwaitingApproval):
                    return event
                if type(event) is Delta:
                    if not self._report.has_spoken:
                        self._report.spoke()
                    if self.run.enable_reasoning:
                        self.log.delta(event)
                        if self.log.is_full:
                            await self.log.room()
                else:
                    await self._note(event)
        raise RunFailed("The agent stopped without an answer.", code="no_answer")

    async def _note(self, event: Event) -> None:
        match event:
            case StepDone():
                self._step_done(event)
                if event.type == "tool_result":
                    self._calling.discard(event.index)
                    await self.log.commit(then=self._keeping(event))
                if self._hand_back and event.type != "final_answer" and not self._calling:
                    raise _HandBack
            case ToolsStarting():
                if self._hand_back:  # sooner ask the model again than wonder what has become of a tool
                    raise _HandBack
                await self._begin_tools(event)
            case Retry():
                self._say_retry(event.steps, event.attempt, event.reason, event.delay)
            case RunWarning():
                self.log.add(vocabulary.Warning(message=event.message, code=event.code))

    async def _begin_tools(self, event: ToolsStarting) -> None:
        """Write down what is called, and what a person is asked first, before any of it happens."""
        self._calling |= {row.index for row in event.results}
        for use in event.uses:
            self._step_done(use)
        for row in event.results:
            self._write_step(row, Step.Status.STARTED)
        for row in event.waiting:
            self._write_step(row, Step.Status.PENDING)
        if not event.waiting:
            await self.log.commit()
            return
        assert self.spec is not None
        expires_at = timezone.now() + datetime.timedelta(seconds=self.spec.limits.approval_timeout)
        for row in event.waiting:
            self.log.add(approval_data(row, expires_at))
        await self.log.commit(then=lambda: approvals.ask(self.run, event.waiting, expires_at))

    def _keeping(self, step: StepDone) -> Callable[[], None] | None:
        """Keep the step's attachments, in the transaction that writes the step."""
        if not step.attachments:
            return None
        rows = artifacts.rows(self.run, step)
        return lambda: artifacts.keep(rows)

    def _discard_dangling(self) -> None:
        if self.dangling and self.run.enable_reasoning:
            self._say_retry(self.dangling, self.run.attempt - 1, "The worker stopped; another goes on.", 0)

    # What goes into the log

    def _step_done(self, step: StepDone) -> None:
        self._write_step(step, Step.Status.FINISHED)
        if self.run.enable_reasoning:
            self.log.add(step_data(step, artifacts.told(step)), replaces=(step.index,))

    def _write_step(self, step: StepDone, status: str) -> None:
        self.log.step(
            Step(
                run_id=self.run.pk,
                index=step.index,
                iteration=step.iteration,
                kind=step.type,
                status=status,
                content=_without_nul(step.content),
                tool_call_id=step.tool_call_id,
                tool_name=step.tool_name,
                arguments=_without_nul(step.arguments),
                is_error=step.is_error,
                attachments=artifacts.told(step),
                provider_data=_without_nul(step.provider_data),
                usage=self.conversation.usage.as_dict(),
                started_at=_moment(step.started),
                finished_at=_moment(step.finished) if status == Step.Status.FINISHED else None,
            )
        )

    def _say_retry(self, steps: list[int], attempt: int, reason: str, delay: float) -> None:
        if self.run.enable_reasoning:
            for step in steps:
                data = vocabulary.Retry(step=step, attempt=attempt, reason=reason, delay_ms=round(delay * 1000))
                self.log.add(data, replaces=(step,))

    # How a run ends, or waits

    async def _park(self) -> None:
        """Wait for a person: no worker has the run meanwhile."""
        self._ending = True
        settle = functools.partial(approvals.settle_parked, self.run)
        await self.log.commit(then=settle, status=Run.Status.WAITING, lease_until=None, worker="")

    async def _end_completed(self, answer: Answer) -> None:
        if not self.run.enable_reasoning:
            self.log.add(vocabulary.Response(answer.content))
        filtered = {"error_code": answer.cut_short} if answer.cut_short == "content_filter" else {}
        truncated = answer.cut_short == "length"
        await self._end(Run.Status.COMPLETED, result=answer.content, truncated=truncated, **filtered)

    async def _end_failed(self, message: str, code: str) -> None:
        if self.run.enable_reasoning:
            index = self.conversation.next_index
            open_steps = self._turns.open_steps if self._turns else []
            now = timezone.now().timestamp()
            index = max([index, *(step + 1 for step in open_steps)])
            step = StepDone(index, "error", self.conversation.iteration, message, now, now, is_error=True)
            self._step_done(step)
        self.log.add(vocabulary.Error(message=message, code=code))
        await self._end(Run.Status.FAILED, error=message, error_code=code, result=self._partial())

    async def _end_cancelled(self) -> None:
        await self._database.run(self.run.refresh_from_db, fields=["cancelled_by", "cancel_requested_at"])
        events = cancel_events(self.run, self.conversation.usage, self.conversation.iteration)
        self.log.add(events[0])
        await self._end(Run.Status.CANCELLED, result=self._partial())

    async def _end(self, status: Run.Status, **changes: Any) -> None:
        self._ending = True
        usage, iterations = self.conversation.usage, self.conversation.iteration
        cost = self._tariff.cost(usage.as_dict()) if self._tariff else Decimal(0)
        self.log.add(complete_data(self.run, status, usage, iterations))
        await self.log.commit(
            then=self._clean_up,
            status=status,
            **Run.used(usage.as_dict()),
            cost=cost,
            model=self.spec.model.model if self.spec else "",
            finished_at=timezone.now(),
            lease_until=None,
            worker="",
            **changes,
        )
        self._report.ended(status, usage, cost, error_code=changes.get("error_code", ""))

        if self.spec and self.spec.can_ask_agents and status != Run.Status.COMPLETED:
            await self._database.run(cancel_children, self.run, by=self.run.cancelled_by)

    async def _release(self) -> None:
        await self.log.commit(then=self._enqueue_next, status=Run.Status.QUEUED, lease_until=None, worker="")

    def _clean_up(self) -> None:
        if self.spec and self.spec.approval_required:
            close_approvals(self.run)
        self._enqueue_next()

    def _enqueue_next(self) -> None:
        enqueue_next(self.run.session_id)

    def _partial(self) -> str:
        """The answer as far as it came."""
        return self._turns.open_answer.replace("\x00", "") if self._turns else ""


def _without_nul(value: Any) -> Any:
    """The value without NUL characters, which PostgreSQL keeps in no text and in no JSON."""
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nul(inner) for inner in value]
    return value


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)

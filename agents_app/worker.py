"""The worker: claims runs, executes them many at a time on one event loop, and stops in good order."""

import asyncio
import contextlib
import contextvars
import datetime
import logging
import uuid
from typing import Any

from django.utils import timezone

from agents_app import claims, dispatch
from agents_app.claims import Claim
from agents_app.engine import models
from agents_app.engine.events import Answered, Delta, Event, Retry, StepDone, ToolsStarting
from agents_app.engine.loop import Turns
from agents_app.engine.tools import builtin_toolset
from agents_app.exceptions import Fenced, LimitReached, RunFailed, StorageUnavailable
from agents_app.log import LogWriter, RunLog
from agents_app.models import Run, Step
from agents_app.runs import cancel_events, complete_data, enqueue_next
from agents_app.threads import DatabaseThreads

logger = logging.getLogger(__name__)

HEARTBEAT = 2.0
LOOK_INTERVAL = 1.0  # how often the queue is read where no nudge came
MOST_ATTEMPTS = 100  # a run that ends its worker every time must not do so for ever
GRACE = 2.0  # seconds that runs get to reach the end of a step when the worker stops


class Worker:
    """Executes up to `concurrency` runs at a time."""

    def __init__(self, concurrency: int) -> None:
        self.id = uuid.uuid4().hex
        self.draining = False
        self._concurrency = concurrency
        self._news = asyncio.Event()
        self._executions: dict[uuid.UUID, Execution] = {}
        self._alone = True
        self._asked: dict[uuid.UUID, asyncio.Future[Execution | None]] = {}
        self._database = DatabaseThreads("claims", 1)
        self._heart = DatabaseThreads("leases", 1)  # a claim that waits for a lock must not cost us our runs
        self._writer = LogWriter()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *, alone: bool) -> None:
        """Begin to claim. `alone`: no other worker shares the database, so whatever is running is left behind, and
        the worker looks for runs itself; otherwise it takes those that it is told to run."""
        self._alone = alone
        await asyncio.to_thread(models.prepare)
        if alone:
            await self._database.run(claims.release_orphans)
        self._writer.start()
        dispatch.register(self)
        self._tasks = [
            asyncio.create_task(self._claim_for_ever()),
            asyncio.create_task(self._beat_for_ever()),
        ]

    async def stop(self) -> None:
        """Stop claiming, hand running runs back at the end of a step or after the grace, and write everything down."""
        self.draining = True
        self.wake()
        claiming, beating = self._tasks
        beating.cancel()
        await asyncio.wait([claiming], timeout=GRACE)  # a claim that is under way must not be thrown away
        claiming.cancel()
        for asked in self._asked.values():
            _resolve(asked, None)
        executions = list(self._executions.values())
        for execution in executions:
            execution.hand_back_soon()
        if executions:
            _, late = await asyncio.wait([e.task for e in executions], timeout=GRACE)
            for execution in executions:
                if execution.task in late:
                    execution.stop("shutdown")
            await asyncio.wait([e.task for e in executions], timeout=GRACE)
        await self._writer.stop()
        await models.close_models()

    async def run(self, run_id: uuid.UUID) -> None:
        """Execute that run to its end, if it can be claimed."""
        execution = self._executions.get(run_id)
        if execution is None:
            asked = self._asked.setdefault(run_id, asyncio.get_running_loop().create_future())
            self.wake()
            execution = await asked
        if execution is not None:
            await asyncio.wait([execution.task])

    def wake(self) -> None:
        """See `dispatch.receiver.Receiver`."""
        self._news.set()

    def abort(self, run_id: uuid.UUID) -> None:
        """See `dispatch.receiver.Receiver`."""
        if execution := self._executions.get(run_id):
            execution.stop("cancel")

    async def _claim_for_ever(self) -> None:
        while not self.draining:
            try:
                await self._claim()
            except Exception:
                logger.exception("Could not claim runs; trying again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL):
                    await self._news.wait()
            self._news.clear()

    async def _claim(self) -> None:
        if self._alone:
            await self._claim_oldest()
        elif self._asked:
            await self._claim_asked()

    async def _claim_asked(self) -> None:
        asked = list(self._asked)
        taken = await self._database.run(claims.claim, self.id, len(asked), list(self._executions), asked)
        for claim in taken:
            self._execute(claim)
        for run_id in asked:
            _resolve(self._asked.pop(run_id), self._executions.get(run_id))

    async def _claim_oldest(self) -> None:
        while not self.draining and (free := self._concurrency - len(self._executions)) > 0:
            taken = await self._database.run(claims.claim, self.id, free, list(self._executions))
            for claim in taken:
                self._execute(claim)
            if len(taken) < free:
                return

    def _execute(self, claim: Claim) -> None:
        run = claim.run
        log = self._writer.open(run.pk, run.session_id, run.fence)
        log.segments, log.last_seq = claim.segments, claim.segments[-1].last if claim.segments else 0
        execution = self._executions[run.pk] = Execution(claim, log, self._database)
        task = asyncio.create_task(execution.execute(), context=contextvars.Context())
        execution.task = task
        task.add_done_callback(lambda _: self._ended(run.pk))

    def _ended(self, run_id: uuid.UUID) -> None:
        self._executions.pop(run_id, None)
        self.wake()  # the session's next run, or one that found no place

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            try:
                if ids := list(self._executions):
                    await self._heart.run(claims.renew, self.id, ids)
                    for run_id in await self._heart.run(claims.cancel_requests, ids):
                        self.abort(run_id)
            except Exception:
                logger.exception("Could not renew the leases; trying again")


def _resolve(asked: "asyncio.Future[Execution | None]", execution: "Execution | None") -> None:
    if not asked.done():  # who asked may have been cancelled
        asked.set_result(execution)


class _HandBack(Exception):
    """The worker stops: give the run back at this safe point."""


class Execution:
    """One claimed run, from the claim to its end."""

    task: "asyncio.Task[None]"

    def __init__(self, claim: Claim, log: RunLog, database: DatabaseThreads) -> None:
        self._database = database
        self.run = claim.run
        self.spec = claim.spec
        self.conversation = claim.conversation
        self.dangling = claim.dangling
        self.is_broken = claim.is_broken
        self.log = log
        self._open_results = len(claim.conversation.open_tools)  # tools that are being called
        self._turns: Turns | None = None
        self._stopping: str | None = None
        self._hand_back = False
        self._ending = False

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
                answer = await self._follow_turns()
        except TimeoutError:
            text = f"The run took longer than its {self.spec.limits.timeout:g} seconds."
            raise LimitReached(text, code="timeout") from None
        await self._end_completed(answer)  # out of the time-out's reach: a run ends once

    async def _follow_turns(self) -> Answered:
        assert self.spec is not None
        model = await models.open_model(self.spec.model)
        turns = self._turns = Turns(self.spec, self.conversation, model, builtin_toolset(self.spec.builtin_tools))
        async with contextlib.aclosing(turns.events()) as events:  # type: ignore[type-var]
            async for event in events:
                if type(event) is Answered:
                    return event
                if type(event) is Delta:
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
                    self._open_results -= 1
                    await self.log.commit()
                if self._hand_back and event.type != "final_answer" and not self._open_results:
                    raise _HandBack
            case ToolsStarting():
                if self._hand_back:  # sooner ask the model again than wonder what has become of a tool
                    raise _HandBack
                self._open_results = len(event.results)
                for use in event.uses:
                    self._step_done(use)
                for row in event.results:
                    self._write_step(row, Step.Status.STARTED)
                await self.log.commit()
            case Retry():
                self._say_retry(event.steps, event.attempt, event.reason, event.delay)

    def _discard_dangling(self) -> None:
        if self.dangling and self.run.enable_reasoning:
            self._say_retry(self.dangling, self.run.attempt - 1, "The worker stopped; another goes on.", 0)

    # What goes into the log

    def _step_done(self, step: StepDone) -> None:
        self._write_step(step, Step.Status.FINISHED)
        if self.run.enable_reasoning:
            self.log.add("reasoning_step", _step_data(step), replaces=(step.index,))

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
                provider_data=_without_nul(step.provider_data),
                usage=self.conversation.usage.as_dict(),
                started_at=_moment(step.started),
                finished_at=_moment(step.finished) if status == Step.Status.FINISHED else None,
            )
        )

    def _say_retry(self, steps: list[int], attempt: int, reason: str, delay: float) -> None:
        if self.run.enable_reasoning:
            for step in steps:
                data = {"step": step, "attempt": attempt, "reason": reason, "delay_ms": round(delay * 1000)}
                self.log.add("retry", data, replaces=(step,))

    # How a run ends

    async def _end_completed(self, answer: Answered) -> None:
        if not self.run.enable_reasoning:
            self.log.add("response", {"content": answer.content})
        await self._end(Run.Status.COMPLETED, result=answer.content)

    async def _end_failed(self, message: str, code: str) -> None:
        if self.run.enable_reasoning:
            index = self.conversation.next_index
            open_steps = self._turns.open_steps if self._turns else []
            now = timezone.now().timestamp()
            index = max([index, *(step + 1 for step in open_steps)])
            step = StepDone(index, "error", self.conversation.iteration, message, now, now, is_error=True)
            self._step_done(step)
        self.log.add("error", {"message": message, "code": code})
        await self._end(Run.Status.FAILED, error=message, error_code=code, result=self._partial())

    async def _end_cancelled(self) -> None:
        await self._database.run(self.run.refresh_from_db, fields=["cancelled_by"])
        events = cancel_events(self.run, self.conversation.usage, self.conversation.iteration)
        self.log.add(*events[0])
        await self._end(Run.Status.CANCELLED, result=self._partial())

    async def _end(self, status: Run.Status, **changes: Any) -> None:
        self._ending = True
        usage, iterations = self.conversation.usage, self.conversation.iteration
        self.log.add("reasoning_complete", complete_data(self.run, status, usage, iterations))
        await self.log.commit(
            then=self._enqueue_next,
            status=status,
            usage=usage.as_dict(),
            finished_at=timezone.now(),
            lease_until=None,
            worker="",
            **changes,
        )

    async def _release(self) -> None:
        await self.log.commit(then=self._enqueue_next, status=Run.Status.QUEUED, lease_until=None, worker="")

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


def _step_data(step: StepDone) -> dict[str, Any]:
    data: dict[str, Any] = {
        "step": step.index,
        "type": step.type,
        "content": step.content,
        "iteration": step.iteration,
        "timestamp": round(step.finished, 3),
    }
    if step.tool_name or step.tool_call_id:
        data |= {
            "tool_name": step.tool_name,
            "tool_call_id": step.tool_call_id,
            "arguments": step.arguments or {},
            "is_error": step.is_error,
            "duration_ms": max(0, round((step.finished - step.started) * 1000)),
        }
    return data


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)

"""The worker: claims runs, executes them many at a time on one event loop, and stops in good order."""

import asyncio
import contextlib
import contextvars
import logging
import time
import uuid

from django.db import DatabaseError

from agents_app.database.threads import DatabaseThreads
from agents_app.engine import mcp, providers
from agents_app.event_log import LogWriter
from agents_app.maintenance.daily import Housekeeper
from agents_app.observability import metrics
from agents_app.queue import run_queue
from agents_app.runs import approvals, pricing
from agents_app.scheduler.loop import Ticker
from agents_app.worker import claims, heartbeat
from agents_app.worker.claims import Claim
from agents_app.worker.execution import Execution

logger = logging.getLogger(__name__)

HEARTBEAT = 2.0
SIGN_INTERVAL = 5.0  # how often people are told that the worker lives
LOOK_INTERVAL = 1.0  # how often the queue is read where no nudge came
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
        self._ticker = Ticker()
        self._housekeeper = Housekeeper()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *, alone: bool) -> None:
        """Begin to claim. `alone`: no other worker shares the database, so whatever is running is left behind, and
        the worker looks for runs itself; otherwise it takes those that it is told to run."""
        self._alone = alone
        if alone:
            await self._database.run(claims.release_orphans)
            await self._database.run(heartbeat.forget_all)
        self._writer.start()
        run_queue.register(self)
        metrics.WORKER_CAPACITY.set(self._concurrency)
        metrics.RUNS_EXECUTING.set_function(lambda: len(self._executions))
        self._tasks = [
            asyncio.create_task(self._claim_for_ever()),
            asyncio.create_task(self._beat_for_ever()),
            asyncio.create_task(self._show_for_ever()),
            asyncio.create_task(self._expire_for_ever()),
            asyncio.create_task(self._ticker.tick_for_ever()),
            asyncio.create_task(self._housekeeper.keep_for_ever()),
        ]

    async def stop(self) -> None:
        """Stop claiming, hand running runs back at the end of a step or after the grace, and write everything down."""
        self.draining = True
        self.wake()
        for execution in self._executions.values():  # before anything is waited for: none may begin another step
            execution.hand_back_soon()
        self._housekeeper.stop()
        claiming, *others = self._tasks
        for task in others:
            task.cancel()
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
        await self._leave()
        await mcp.close_servers()
        await providers.close_models()

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
        if self._asked:
            await self._claim_asked()
        if self._alone:
            await self._claim_oldest()

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
        if run.attempt == 1:
            metrics.PICK_UP.observe(metrics.between(run.created_at.timestamp(), time.time()))
        else:
            metrics.RUNS_RESUMED.inc()
        log = self._writer.open(run.pk, run.session_id, run.fence, claim.segments)
        execution = self._executions[run.pk] = Execution(claim, log, self._database, self.run)
        task = asyncio.create_task(execution.execute(), context=contextvars.Context())
        execution.task = task
        task.add_done_callback(lambda _: self._ended(run.pk))

    def _ended(self, run_id: uuid.UUID) -> None:
        ended = self._executions.pop(run_id, None)
        self.wake()  # the session's next run, or one that found no place
        if ended is not None and ended.run.task_id:
            self._ticker.wake()  # its task may have something to go on with

    async def _expire_for_ever(self) -> None:
        """Answer for the people who did not come; every worker looks, and the first to lock the session does it."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            try:
                await self._database.run(approvals.expire)
            except Exception:
                logger.exception("Could not look for approvals that nobody gave; trying again")

    async def _show_for_ever(self) -> None:
        await asyncio.to_thread(pricing.prepare)  # not while a run waits for its end
        while True:
            await self._show()
            await asyncio.sleep(SIGN_INTERVAL)

    async def _show(self) -> None:
        """Give a sign of life."""
        running = len(self._executions)
        try:
            await self._heart.run(heartbeat.report, self.id, concurrency=self._concurrency, running=running)
        except Exception:
            logger.exception("Could not give a sign of life; trying again")

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(LOOK_INTERVAL):  # a database that is away must not keep it from ending
                await self._heart.run(heartbeat.leave, self.id)
        except (TimeoutError, DatabaseError):
            logger.warning("Could not say that the worker ends: it will be taken for dead")

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

"""The worker claims runs, executes many at a time on one event loop, and stops in good order."""

import asyncio
import contextlib
import logging
import time
import uuid

from django.db import DatabaseError

from agents_app.background import spawn
from agents_app.database.threads import DatabaseThreads
from agents_app.engine import mcp, providers
from agents_app.event_log import LogWriter
from agents_app.maintenance.daily import DailyPruning
from agents_app.observability import metrics
from agents_app.queue import run_queue
from agents_app.runs import approvals, pricing
from agents_app.scheduler.loop import Ticker
from agents_app.worker import claims, heartbeat
from agents_app.worker.claims import Claim
from agents_app.worker.execution import Execution

logger = logging.getLogger(__name__)

HEARTBEAT = 2.0
REPORT_INTERVAL = 5.0  # seconds between two reports that the worker is alive
RIGHTS_INTERVAL = 5.0  # seconds between two looks for runs that wait for a person, but must not go on
POLL_INTERVAL = 1.0  # seconds between two looks at the rows if nobody wakes the worker
GRACE = 2.0  # seconds for runs to reach the end of a step when the worker stops


class Worker:
    """Executes up to `concurrency` runs at a time."""

    def __init__(self, concurrency: int) -> None:
        self.id = uuid.uuid4().hex
        self.draining = False
        self._concurrency = concurrency
        self._wake_up = asyncio.Event()
        self._executions: dict[uuid.UUID, Execution] = {}
        self._alone = True
        self._requests: dict[uuid.UUID, asyncio.Future[Execution | None]] = {}  # runs that the queue has chosen
        self._database = DatabaseThreads("claims", 1)
        self._lease_database = DatabaseThreads("leases", 1)  # a claim that waits for a lock must not cost us our runs
        self._writer = LogWriter()
        self._ticker = Ticker()
        self._pruning = DailyPruning()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *, alone: bool) -> None:
        """Begin to claim.

        `alone`: no other worker shares the database. Then every running run was left behind by a process that ended,
        and the worker looks for runs itself; otherwise it takes the runs that the queue gives it.
        """
        self._alone = alone
        if alone:
            await self._database.run(claims.release_orphans)
            await self._database.run(heartbeat.forget_all)
        self._writer.start()
        run_queue.register(self)
        metrics.WORKER_CAPACITY.set(self._concurrency)
        metrics.RUNS_EXECUTING.set_function(lambda: len(self._executions))
        self._tasks = [
            spawn(self._claim_forever()),
            spawn(self._renew_leases_forever()),
            spawn(self._report_forever()),
            spawn(self._expire_approvals_forever()),
            spawn(self._end_denied_forever()),
            spawn(self._ticker.run()),
            spawn(self._pruning.run()),
        ]

    async def stop(self) -> None:
        """Stop claiming, hand runs back at the end of a step or after the grace period, and write out the log."""
        self.draining = True
        self.wake()
        for execution in self._executions.values():  # before the first await: none may begin another step
            execution.hand_back_soon()
        self._pruning.stop()
        claiming, *others = self._tasks
        for task in others:
            task.cancel()
        await asyncio.wait([claiming], timeout=GRACE)  # a claim in progress must not be lost
        claiming.cancel()
        for request in self._requests.values():
            _resolve(request, None)
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
        """Execute that run to its end if it can be claimed."""
        execution = self._executions.get(run_id)
        if execution is None:
            request = self._requests.setdefault(run_id, asyncio.get_running_loop().create_future())
            self.wake()
            execution = await request
        if execution is not None:
            await asyncio.wait([execution.task])

    def wake(self) -> None:
        """Look for runs to claim."""
        self._wake_up.set()

    def abort(self, run_id: uuid.UUID) -> None:
        """Stop that run now if this worker executes it."""
        if execution := self._executions.get(run_id):
            execution.stop("cancel")

    async def _claim_forever(self) -> None:
        while not self.draining:
            try:
                await self._claim()
            except Exception:
                logger.exception("Could not claim runs; trying again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_INTERVAL):
                    await self._wake_up.wait()
            self._wake_up.clear()

    async def _claim(self) -> None:
        if self._requests:
            await self._claim_requested()
        if self._alone:
            await self._claim_oldest()

    async def _claim_requested(self) -> None:
        run_ids = list(self._requests)
        for claim in await self._database.run(claims.claim, self.id, len(run_ids), list(self._executions), run_ids):
            self._execute(claim)
        for run_id in run_ids:
            _resolve(self._requests.pop(run_id), self._executions.get(run_id))

    async def _claim_oldest(self) -> None:
        while not self.draining and (free := self._concurrency - len(self._executions)) > 0:
            claimed = await self._database.run(claims.claim, self.id, free, list(self._executions))
            for claim in claimed:
                self._execute(claim)
            if len(claimed) < free:
                return

    def _execute(self, claim: Claim) -> None:
        run = claim.run
        if run.attempt == 1:
            metrics.PICK_UP.observe(metrics.between(run.created_at.timestamp(), time.time()))
        else:
            metrics.RUNS_RESUMED.inc()
        log = self._writer.open(run.pk, run.session_id, run.fence, claim.segments)
        execution = self._executions[run.pk] = Execution(claim, log, self._database, self.run)
        execution.task.add_done_callback(lambda _: self._ended(execution))

    def _ended(self, execution: Execution) -> None:
        was_full = len(self._executions) >= self._concurrency
        del self._executions[execution.run.pk]
        if was_full:
            self.wake()  # the session's next run needs no second look: the transaction that ended this one woke us
        if execution.run.task_id:
            self._ticker.wake()  # its task may have a retry, a postponed run or a webhook

    async def _expire_approvals_forever(self) -> None:
        """Deny what nobody answered in time. Every worker polls; the first to lock the session wins."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                await self._database.run(approvals.expire)
            except Exception:
                logger.exception("Could not look for expired approvals; trying again")

    async def _end_denied_forever(self) -> None:
        while True:
            await asyncio.sleep(RIGHTS_INTERVAL)
            try:
                await self._database.run(approvals.end_denied)
            except Exception:
                logger.exception("Could not look for runs that must not go on; trying again")

    async def _report_forever(self) -> None:
        await asyncio.to_thread(pricing.prepare)  # now, and not while a run is about to end
        while True:
            await self._report()
            await asyncio.sleep(REPORT_INTERVAL)

    async def _report(self) -> None:
        """Record that the worker is alive."""
        running = len(self._executions)
        try:
            await self._lease_database.run(heartbeat.report, self.id, concurrency=self._concurrency, running=running)
        except Exception:
            logger.exception("Could not report that the worker is alive; trying again")

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(POLL_INTERVAL):  # an unreachable database must not keep the process from ending
                await self._lease_database.run(heartbeat.leave, self.id)
        except (TimeoutError, DatabaseError):
            logger.warning("Could not delete the worker's row: it will count as dead")

    async def _renew_leases_forever(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            try:
                if ids := list(self._executions):
                    await self._lease_database.run(claims.renew, self.id, ids)
                    for run_id in await self._lease_database.run(claims.cancel_requests, ids):
                        self.abort(run_id)
            except Exception:
                logger.exception("Could not renew the leases; trying again")


def _resolve(request: "asyncio.Future[Execution | None]", execution: Execution | None) -> None:
    if not request.done():  # the caller may have been cancelled
        request.set_result(execution)

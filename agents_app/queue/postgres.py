"""The distributed queue: Procrastinate, on PostgreSQL.

A job carries a run's id to some worker, in the transaction that writes the run. The run's own row decides whether
the worker may claim it: Procrastinate does not check who finishes or retries a job.
"""

import asyncio
import datetime
import logging
import uuid
from collections.abc import Callable
from typing import Any

import orjson
import procrastinate
from django.db import connection, transaction
from django.utils import timezone
from procrastinate.contrib.django import app as django_app
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import JobAborted
from procrastinate.job_context import AbortReason
from procrastinate.psycopg_connector import PsycopgConnector
from procrastinate.worker import Worker as JobWorker
from psycopg_pool import AsyncConnectionPool

from agents_app.background import spawn
from agents_app.database.postgres_connections import AsyncConnection
from agents_app.database.threads import DatabaseThreads
from agents_app.models.running_limits import RunningLimits, places, running_limits
from agents_app.models.runs import FIRST_IN_SESSION, NEXT_OF_SESSION
from agents_app.queue.protocols import Receiver

logger = logging.getLogger(__name__)

QUEUE = "runs"
HEARTBEAT = 2.0
STALLED = 8.0  # seconds without a heartbeat after which a worker's jobs are deleted, and their runs get new ones
RESCUE_INTERVAL = 1.0
RETRY_INTERVAL = 0.5
_RESCUED_AFTER = datetime.timedelta(seconds=3)
POLL_INTERVAL = 2.0  # for lost notifications
_RESCUE_LOCK = 0x41494E54  # of PostgreSQL's advisory locks
_TURN_LOCK = 0x41494E55  # of the pairs among them: with the owner
_PLACES_LOCK = 0x41494E58


class PostgresQueue:
    """See `protocols.Queue`. Jobs are written in the caller's transaction."""

    def __init__(self) -> None:
        self.receiver: Receiver | None = None
        self._draining = False

    def register(self, receiver: Receiver | None) -> None:
        self.receiver = receiver

    def enqueue_next(self, session_id: str) -> None:
        """Write a job. A second job for the same run waits for the first, then finds nothing to do."""
        with connection.cursor() as cursor:
            cursor.execute(_NEXT, {"lock": _TURN_LOCK, "session": session_id})
            if head := cursor.fetchone():
                run_id, owner, priority, _ = head
                _defer(cursor, run_id, owner, priority)

    def fill_places(self) -> None:
        """Write jobs for runs that have a place now. The job that each had before ended when it found none."""
        limits = running_limits()
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_PLACES_LOCK])
            now = timezone.now()
            _hand_over(cursor, _without_job(cursor, _HELD, before=now, limits=limits))

    def prefer(self, run_ids: list[uuid.UUID]) -> list[uuid.UUID]:
        """See `protocols.Queue`. A run that has to wait gets the place of the one that comes before it."""
        first: list[uuid.UUID] = []
        taken: list[int] = []
        with connection.cursor() as cursor:
            for run_id in run_ids:
                cursor.execute(_MORE_URGENT, {"run": run_id, "taken": taken, "queue": QUEUE})
                if (more_urgent := cursor.fetchone()) is None:
                    first.append(run_id)
                    continue
                job, priority, owner = more_urgent
                taken.append(job)
                cursor.execute(_NEXT_NOW, {"job": job, "queue": QUEUE})
                cursor.execute(_IN_ITS_PLACE, _job(run_id, owner) | {"priority": priority})
        return first

    def cancel(self, run_id: uuid.UUID) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM procrastinate_jobs WHERE lock = %s AND status = 'doing'", [str(run_id)])
            jobs = [job for (job,) in cursor.fetchall()]
        for job in jobs:
            django_app.job_manager.cancel_job_by_id(job, abort=True)

    def workers_alive(self) -> int:
        since = timezone.now() - datetime.timedelta(seconds=STALLED)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > %s", [since])
            return cursor.fetchone()[0]

    def set_draining(self) -> None:
        self._draining = True

    def is_draining(self) -> bool:
        return self._draining or (self.receiver is not None and self.receiver.draining)


queue = PostgresQueue()


@django_app.task(name="agents_app.execute_run", queue=QUEUE, pass_context=True)
async def execute_run(context: procrastinate.JobContext, run_id: str, owner: int | None = None) -> None:
    """Have this process's worker execute the run. `owner` is for the order of jobs: see `_TURN`."""
    receiver = queue.receiver
    if receiver is None:
        raise RuntimeError("This process has no worker.")
    execution = spawn(receiver.run(uuid.UUID(run_id)))
    try:
        await asyncio.shield(execution)
    except asyncio.CancelledError:
        if context.abort_reason() != AbortReason.USER_REQUEST:
            raise  # Procrastinate releases the job; the run continues under its lease
        receiver.abort(uuid.UUID(run_id))
        await execution
        raise JobAborted from None


async def work(concurrency: int, stopping: asyncio.Event, on_ready: Callable[[], None]) -> None:
    """Fetch jobs until `stopping` is set; start again whenever the database was unreachable.

    Calls `on_ready` each time that the database has registered this worker: before, no process counts it.
    """
    rescuer = spawn(_rescue_forever())
    while not stopping.is_set():
        try:
            # A pool that failed to open stays closed: each attempt makes its own. The app itself keeps its connector,
            # so that this process enqueues through Django's connection, in its current transaction.
            app = django_app.with_connector(_connector())
            async with app.open_async():
                await _fetch(app, concurrency, stopping, on_ready)
        except Exception as error:  # whatever the database's driver raises
            logger.warning("The job queue is unreachable; trying again: %r", error)
            await asyncio.sleep(RETRY_INTERVAL)
    rescuer.cancel()
    await asyncio.gather(rescuer, return_exceptions=True)


class _Pool(AsyncConnectionPool):
    """With the usual timeouts, a pool that lost its database tries again ever more slowly."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, connection_class=AsyncConnection, timeout=5, reconnect_timeout=2)

    async def open(self, wait: bool = False, timeout: float = 2) -> None:  # noqa: ASYNC109 — as its parent's
        await super().open(wait, timeout)


def _connector() -> PsycopgConnector:
    return PsycopgConnector(kwargs=connector_params(), pool_factory=_Pool)


async def _fetch(
    app: procrastinate.App, concurrency: int, stopping: asyncio.Event, on_ready: Callable[[], None]
) -> None:
    worker = JobWorker(
        app=app,
        queues=[QUEUE],
        concurrency=concurrency,
        fetch_job_polling_interval=POLL_INTERVAL,
        abort_job_polling_interval=POLL_INTERVAL,
        shutdown_graceful_timeout=0.1,  # jobs are released, runs are not: see execute_run
        delete_jobs="always",
        install_signal_handlers=False,
        update_heartbeat_interval=HEARTBEAT,
        stalled_worker_timeout=3600,  # a paused worker's row must not vanish at the start of another
    )
    running = spawn(worker.run())
    while worker.worker_id is None and not running.done() and not stopping.is_set():
        await asyncio.sleep(0.01)  # Procrastinate has no event for it
    if worker.worker_id is not None:
        on_ready()
    stop = spawn(stopping.wait())
    await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
    worker.stop()
    stop.cancel()
    await running


async def _rescue_forever() -> None:
    """Give lost runs a job again. Every worker polls, one at a time."""
    threads = DatabaseThreads("rescue", 1)
    while True:
        await asyncio.sleep(RESCUE_INTERVAL)
        try:
            await threads.run(rescue)
        except Exception as error:  # whatever the database's driver raises
            logger.warning("Could not look for runs without a job: %r", error)


def rescue() -> None:
    """Delete the jobs of dead workers, and write a job for every run that could continue and has none."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_RESCUE_LOCK])
        if not cursor.fetchone()[0]:
            return
        cursor.execute(_DELETE_STALLED, {"queue": QUEUE, "seconds": STALLED})
        if cursor.rowcount:
            logger.warning("Deleted %s jobs of dead workers", cursor.rowcount)
        before, limits = timezone.now() - _RESCUED_AFTER, running_limits()
        lost = _without_job(cursor, _LOST, before=before, limits=limits)
        if not limits:
            for run_id, *_ in lost:
                logger.warning("Run %s had no job; wrote one", run_id)
        _hand_over(cursor, lost)


def _without_job(
    cursor: Any, statement: str, *, before: datetime.datetime, limits: RunningLimits
) -> list[tuple[uuid.UUID, int | None, int]]:
    """Return id, owner and priority of runs that have no job, and a place if users or agents have limits."""
    now = timezone.now()
    cursor.execute(statement, {"now": now, "before": before})
    rows = cursor.fetchall()
    taken = places(limits, now) if rows and limits else None
    return [
        (run_id, owner, priority)
        for run_id, owner, priority, agent, parent in rows
        if taken is None or parent is not None or taken.offer(owner, agent)
    ]


def _hand_over(cursor: Any, rows: list[tuple[uuid.UUID, int | None, int]]) -> None:
    for run_id, owner, priority in sorted(rows, key=lambda row: row[1] or 0):  # the locks of owners have this order
        cursor.execute(_LOCK, {"lock": _TURN_LOCK, "owner": owner})
        _defer(cursor, run_id, owner, priority)


def _defer(cursor: Any, run_id: uuid.UUID, owner: int | None, priority: int) -> None:
    """Write a job for the run, as Procrastinate's `defer` does. Its owner's lock is held already."""
    cursor.execute(_DEFER, _job(run_id, owner) | {"among_equals": _MIDDLE + priority})


def _job(run_id: uuid.UUID, owner: int | None) -> dict[str, Any]:
    args = orjson.dumps({"run_id": str(run_id), "owner": owner}).decode()
    return {"queue": QUEUE, "task": execute_run.name, "lock": str(run_id), "args": args, "owner": owner}


# Owners take turns. Workers fetch the job of the highest priority, then of the lowest id, so each owner's jobs have
# priorities of their own: the first that of the job which is next in the queue, each later one lower by one turn. What
# one owner has in the queue, a new owner's job waits for at most one job of each other owner, and nobody waits for ever
# (start-time fair queueing). Fetching a job costs what it did; writing one reads the waiting jobs in the same index.
# A job's priority is 16 times its turn, and within a turn the run's own: -5 to 5 around the middle. The highest is for
# a run that takes the place of another one of its owner, see `_NEXT_NOW`.
_MIDDLE = 8
_TURN = """
SELECT COALESCE(LEAST(
    (SELECT max(priority) >> 4 FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = %(queue)s),
    (SELECT (min(priority) >> 4) - 1 FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = %(queue)s
        AND args -> 'owner' = to_jsonb(%(owner)s::bigint))), 0)
"""
# By hand, because every run needs it: through Procrastinate it took a millisecond more.
_DEFER = f"""
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, args)
SELECT %(queue)s, %(task)s, ({_TURN}) * 16 + %(among_equals)s, %(lock)s, %(args)s::jsonb
"""
# Of the runs of the same owner, the one to execute first, if that is not this run, and its job.
_MORE_URGENT = f"""
SELECT job.id, job.priority, own.owner_id FROM agents_app_run AS this
INNER JOIN agents_app_session AS own ON own.id = this.session_id
INNER JOIN procrastinate_jobs AS job
    ON job.status = 'todo' AND job.queue_name = %(queue)s AND job.args -> 'owner' = to_jsonb(own.owner_id::bigint)
INNER JOIN agents_app_run AS run
    ON run.id = job.lock::uuid AND run.status = 'queued' AND (run.priority > this.priority
        OR (run.priority = this.priority AND run.created_at < this.created_at))
WHERE this.id = %(run)s AND this.status = 'queued' AND this.parent_id IS NULL AND job.id <> ALL(%(taken)s)
    AND {FIRST_IN_SESSION}
ORDER BY run.priority DESC, run.created_at LIMIT 1 FOR UPDATE OF job SKIP LOCKED
"""
_NEXT_NOW = """
UPDATE procrastinate_jobs SET priority = (
    SELECT ((max(priority) >> 4) << 4) + 15 FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = %(queue)s)
WHERE id = %(job)s
"""
_IN_ITS_PLACE = """
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, args)
VALUES (%(queue)s, %(task)s, %(priority)s, %(lock)s, %(args)s::jsonb)
"""

# Until the end of the transaction, which is near: jobs written at the same moment would all get the same turn. In a
# statement of its own: one that waits for the lock would not see the job that was written meanwhile.
_LOCK_OWNER = "pg_advisory_xact_lock(%(lock)s, mod(COALESCE({owner}, 0), 2147483647)::int)"
_LOCK = f"SELECT {_LOCK_OWNER.format(owner='%(owner)s::bigint')}"
_NEXT = f"""
SELECT head.id, session.owner_id, head.priority, {_LOCK_OWNER.format(owner="session.owner_id")}
FROM ({NEXT_OF_SESSION}) AS head
INNER JOIN agents_app_session AS session ON session.id = %(session)s
WHERE head.status = 'queued'
"""

# Not retried, as Procrastinate would: such a job comes before the run's lease has ended, and notifies no worker.
_DELETE_STALLED = """
DELETE FROM procrastinate_jobs WHERE id IN (
    SELECT job.id FROM procrastinate_jobs AS job
    LEFT JOIN procrastinate_workers AS worker ON worker.id = job.worker_id
    WHERE job.status = 'doing' AND job.queue_name = %(queue)s
        AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %(seconds)s)))
"""

# First in its session, queued for longer than it takes to fetch a job, or left by a dead worker; and without a job.
_WITHOUT_JOB = f"""
SELECT run.id, session.owner_id, run.priority, run.agent_id, run.parent_id FROM agents_app_run AS run
INNER JOIN agents_app_session AS session ON session.id = run.session_id
WHERE ((run.status = 'queued' AND run.created_at < %(before)s)
        OR (run.status = 'running' AND run.lease_until < %(now)s))
    AND {FIRST_IN_SESSION}
    AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs AS job
        WHERE job.lock = run.id::text AND job.status IN ({{states}}))
ORDER BY run.priority DESC, run.created_at
"""
_LOST = _WITHOUT_JOB.format(states="'todo', 'doing'")
_HELD = _WITHOUT_JOB.format(states="'todo'")  # a job that finds no place is about to end

"""The distributed engine: Procrastinate, on PostgreSQL.

A job carries a run's id to some worker, in the transaction that writes the run. Whether the worker may have the run
is decided by the run's own row: Procrastinate does not check who finishes or retries a job.
"""

import asyncio
import datetime
import logging
import uuid
from collections.abc import Callable
from typing import Any

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

from agents_app.database.threads import DatabaseThreads
from agents_app.queue.receiver import Receiver

logger = logging.getLogger(__name__)

QUEUE = "runs"
HEARTBEAT = 2.0
STALLED = 8.0  # seconds without a heartbeat after which a worker's jobs are forgotten, and their runs get new ones
RESCUE_INTERVAL = 1.0
RETRY_INTERVAL = 0.5
_FORGOTTEN_AFTER = datetime.timedelta(seconds=3)
POLL_INTERVAL = 2.0  # where a notification got lost
_RESCUE_LOCK = 0x41494E54  # of PostgreSQL's advisory locks


_receiver: Receiver | None = None
_draining = False


def register(receiver: Receiver | None) -> None:
    """Let this process's worker execute runs; None takes it away."""
    global _receiver
    _receiver = receiver


def set_draining() -> None:
    """This process is about to stop."""
    global _draining
    _draining = True


def draining() -> bool:
    """Whether this process is about to stop."""
    return _draining or (_receiver is not None and _receiver.draining)


def workers_seen() -> int:
    """How many workers have given a sign of life lately."""
    since = timezone.now() - datetime.timedelta(seconds=STALLED)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > %s", [since])
        return cursor.fetchone()[0]


def enqueue(run_id: uuid.UUID) -> None:
    """Hand the run over, in the caller's transaction. A second job for it waits for the first, then finds nothing."""
    execute_run.configure(lock=str(run_id)).defer(run_id=str(run_id))


def cancel(run_id: uuid.UUID) -> None:
    """Have the run stopped: its worker is told as soon as the caller's transaction is committed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM procrastinate_jobs WHERE lock = %s AND status = 'doing'", [str(run_id)])
        jobs = [job for (job,) in cursor.fetchall()]
    for job in jobs:
        django_app.job_manager.cancel_job_by_id(job, abort=True)


@django_app.task(name="agents_app.execute_run", queue=QUEUE, pass_context=True)
async def execute_run(context: procrastinate.JobContext, run_id: str) -> None:
    """Have this process's worker execute the run."""
    receiver = _receiver
    if receiver is None:
        raise RuntimeError("This process has no worker.")
    execution = asyncio.ensure_future(receiver.run(uuid.UUID(run_id)))
    try:
        await asyncio.shield(execution)
    except asyncio.CancelledError:
        if context.abort_reason() != AbortReason.USER_REQUEST:
            raise  # Procrastinate lets go of the job; the run goes on, and its lease says so
        receiver.abort(uuid.UUID(run_id))
        await execution
        raise JobAborted from None


async def work(concurrency: int, stopping: asyncio.Event, on_ready: Callable[[], None]) -> None:
    """Fetch jobs until `stopping` is set; start again where the database was away.

    `on_ready` is called when the database knows this worker: before, no process counts it. And each time anew.
    """
    rescuer = asyncio.create_task(_rescue_for_ever())
    while not stopping.is_set():
        try:
            # A pool that could not be opened stays closed: each attempt has its own. And the app stays as it is,
            # so that what this process enqueues goes through Django's connection, in the transaction that it is in.
            app = django_app.with_connector(_connector())
            async with app.open_async():
                await _fetch(app, concurrency, stopping, on_ready)
        except Exception as error:  # whatever the database's driver raises
            logger.warning("The job queue is not to be reached; trying again: %r", error)
            await asyncio.sleep(RETRY_INTERVAL)
    rescuer.cancel()
    await asyncio.gather(rescuer, return_exceptions=True)


class _Pool(AsyncConnectionPool):
    """With more patience, a pool that lost its database tries again ever more slowly."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, timeout=5, reconnect_timeout=2)

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
        shutdown_graceful_timeout=0.1,  # jobs are let go of, runs are not: see execute_run
        delete_jobs="always",
        install_signal_handlers=False,
        update_heartbeat_interval=HEARTBEAT,
        stalled_worker_timeout=3600,  # a paused worker's row must not vanish at the start of another
    )
    running = asyncio.create_task(worker.run())
    while worker.worker_id is None and not running.done() and not stopping.is_set():
        await asyncio.sleep(0.01)  # Procrastinate tells nobody
    if worker.worker_id is not None:
        on_ready()
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
    worker.stop()
    stop.cancel()
    await running


async def _rescue_for_ever() -> None:
    """See that no run is forgotten. Every worker looks, one at a time."""
    threads = DatabaseThreads("rescue", 1)
    while True:
        await asyncio.sleep(RESCUE_INTERVAL)
        try:
            await threads.run(rescue)
        except Exception as error:  # whatever the database's driver raises
            logger.warning("Could not look for forgotten runs: %r", error)


def rescue() -> None:
    """Forget the jobs of dead workers, and give a job to every run that could go on and has none."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_RESCUE_LOCK])
        if not cursor.fetchone()[0]:
            return
        cursor.execute(_FORGET_STALLED, {"queue": QUEUE, "seconds": STALLED})
        if cursor.rowcount:
            logger.warning("%s jobs of dead workers are forgotten", cursor.rowcount)
        cursor.execute(_FORGOTTEN, {"now": timezone.now(), "before": timezone.now() - _FORGOTTEN_AFTER})
        for (run_id,) in cursor.fetchall():
            logger.warning("Run %s had no job; it has one now", run_id)
            enqueue(run_id)


# Not retried, as Procrastinate would: such a job comes before the run's lease has ended, and nobody is notified of it.
_FORGET_STALLED = """
DELETE FROM procrastinate_jobs WHERE id IN (
    SELECT job.id FROM procrastinate_jobs AS job
    LEFT JOIN procrastinate_workers AS worker ON worker.id = job.worker_id
    WHERE job.status = 'doing' AND job.queue_name = %(queue)s
        AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %(seconds)s)))
"""

# First in its session, waiting longer than any job needs to be fetched, or left behind; and nobody was told.
_FORGOTTEN = """
SELECT run.id FROM agents_app_run AS run
WHERE ((run.status = 'queued' AND run.created_at < %(before)s)
        OR (run.status = 'running' AND run.lease_until < %(now)s))
    AND NOT EXISTS (SELECT 1 FROM agents_app_run AS ahead WHERE ahead.session_id = run.session_id
        AND ahead.number < run.number AND ahead.status IN ('queued', 'running', 'waiting'))
    AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs AS job
        WHERE job.lock = run.id::text AND job.status IN ('todo', 'doing'))
"""

"""The distributed engine: Procrastinate, on PostgreSQL.

A job carries a run's id to some worker, in the transaction that writes the run. Whether the worker may have the run
is decided by the run's own row: Procrastinate does not check who finishes or retries a job.
"""

import asyncio
import datetime
import logging
import uuid
from typing import Protocol

import procrastinate
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django import app as django_app
from procrastinate.exceptions import JobAborted, ProcrastinateException
from procrastinate.job_context import AbortReason
from procrastinate.worker import Worker as JobWorker

logger = logging.getLogger(__name__)

QUEUE = "runs"
HEARTBEAT = 2.0
STALLED = 8.0  # seconds without a heartbeat after which a worker's jobs are given to others
RESCUE_INTERVAL = 2.0
POLL_INTERVAL = 2.0  # where a notification got lost
_RESCUE_LOCK = 0x41494E54  # of PostgreSQL's advisory locks


class Receiver(Protocol):
    """What a worker does for us."""

    draining: bool

    async def run(self, run_id: uuid.UUID) -> None:
        """Execute that run to its end, if it can be claimed."""

    def abort(self, run_id: uuid.UUID) -> None:
        """Stop that run now, if it is one of yours."""


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
    """Hand the run over, in the caller's transaction."""
    execute_run.configure(queueing_lock=str(run_id)).defer(run_id=str(run_id)) if not _is_queued(run_id) else None


def _is_queued(run_id: uuid.UUID) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM procrastinate_jobs WHERE queueing_lock = %s AND status = 'todo'", [str(run_id)]
        )
        return cursor.fetchone() is not None


def cancel(run_id: uuid.UUID) -> None:
    """Have the run stopped: its worker is told as soon as the caller's transaction is committed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM procrastinate_jobs WHERE queueing_lock = %s AND status = 'doing'", [str(run_id)]
        )
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


async def work(concurrency: int, stopping: asyncio.Event) -> None:
    """Fetch jobs until `stopping` is set; start again when the database was away."""
    connector = django_app.connector.get_worker_connector()  # type: ignore[attr-defined]
    with django_app.replace_connector(connector) as app:
        rescuer = asyncio.create_task(_rescue_for_ever(app))
        while not stopping.is_set():
            try:
                async with app.open_async():
                    await _fetch(app, concurrency, stopping)
            except Exception:
                logger.warning("The job queue is not to be reached; trying again", exc_info=True)
                await asyncio.sleep(1)
        rescuer.cancel()
        await asyncio.gather(rescuer, return_exceptions=True)


async def _fetch(app: procrastinate.App, concurrency: int, stopping: asyncio.Event) -> None:
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
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
    worker.stop()
    stop.cancel()
    await running


async def _rescue_for_ever(app: procrastinate.App) -> None:
    """Give the jobs of dead workers to others. Every worker looks, one at a time."""
    while True:
        await asyncio.sleep(RESCUE_INTERVAL)
        try:
            await _rescue(app)
        except (ProcrastinateException, OSError):
            logger.debug("Could not look for stalled jobs", exc_info=True)


async def _rescue(app: procrastinate.App) -> None:
    locked = await app.connector.execute_query_one_async(
        "SELECT pg_try_advisory_lock(%(lock)s) AS got", lock=_RESCUE_LOCK
    )
    if not locked["got"]:
        return
    for job in await app.job_manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=STALLED):
        logger.warning("Job %s of a dead worker is given to another", job.id)
        await app.job_manager.retry_job(job)

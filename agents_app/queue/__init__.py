"""How a run reaches a worker.

Two queues with the same methods: `InProcessQueue`, whose worker lives on the event loop of the process that serves,
and `PostgresQueue`, where Procrastinate carries ids through PostgreSQL to worker processes.
"""

from django.conf import settings

from agents_app.queue.protocols import Queue, Receiver

__all__ = ["Queue", "Receiver", "run_queue"]


def _queue() -> Queue:
    if settings.EMBEDDED:
        from agents_app.queue.inprocess import InProcessQueue

        return InProcessQueue()
    from agents_app.queue.postgres import queue  # needs the driver of PostgreSQL

    return queue


run_queue: Queue = _queue()  # now, so that the first run does not wait for imports

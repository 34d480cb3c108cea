"""How a run reaches a worker. It hands over ids: it knows no worker, the worker registers itself.

Two engines with the same functions: `inprocess`, where the worker lives on the event loop of the process that serves,
and `queue`, where Procrastinate carries ids through PostgreSQL to worker processes.
"""

from django.conf import settings

if settings.EMBEDDED:
    from agents_app.queue.inprocess import cancel, draining, enqueue, register, set_draining, workers_seen
else:
    from agents_app.queue.postgres import cancel, draining, enqueue, register, set_draining, workers_seen

__all__ = ["cancel", "draining", "enqueue", "register", "set_draining", "workers_seen"]

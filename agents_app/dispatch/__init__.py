"""How a run reaches a worker. It hands over ids: it knows no worker, the worker registers itself.

One engine in this version: `inprocess`, where the worker lives on the event loop of the process that serves.
"""

from agents_app.dispatch.inprocess import cancel, draining, enqueue, register, workers_seen

__all__ = ["cancel", "draining", "enqueue", "register", "workers_seen"]

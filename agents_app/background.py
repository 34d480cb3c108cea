"""Background tasks."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

# The event loop keeps only weak references to tasks: https://docs.python.org/3/library/asyncio-task.html
_tasks: set[asyncio.Task[Any]] = set()


def spawn(coroutine: Coroutine[Any, Any, Result], *, name: str | None = None) -> asyncio.Task[Result]:
    """Start a task that is kept until it ends, in its own context.

    A task copies the context of its creator. Inside `sync_to_async` that context names the thread of the request, and
    a task that outlives the request would hold it.
    """
    task = asyncio.get_running_loop().create_task(coroutine, name=name, context=contextvars.Context())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task

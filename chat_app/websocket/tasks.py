"""The background tasks of one socket."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from agents_app.background import spawn

logger = logging.getLogger(__name__)


class SocketTasks:
    """Tasks by name. A task that ends is forgotten."""

    def __init__(self) -> None:
        self._names: dict[asyncio.Task[Any], str] = {}

    def start(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        task = spawn(coroutine, name=f"socket {name}")
        self._names[task] = name
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        name = self._names.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # mostly: the client has gone meanwhile
            logger.debug("The %s task of a socket ended with %r", name, error)

    async def stop(self, name: str | None = None) -> None:
        """Cancel the tasks of a name, or all, and wait for their end."""
        tasks = [task for task, own in self._names.items() if name in (None, own)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

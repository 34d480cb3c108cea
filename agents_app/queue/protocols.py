"""The two sides of the queue: what a queue does for runs, and what it needs of a worker."""

import uuid
from typing import Protocol


class Receiver(Protocol):
    """A worker, as a queue sees it."""

    draining: bool

    def wake(self) -> None:
        """Look for runs to claim."""

    async def run(self, run_id: uuid.UUID) -> None:
        """Execute that run to its end if it can be claimed."""

    def abort(self, run_id: uuid.UUID) -> None:
        """Stop that run now if this worker executes it."""


class Queue(Protocol):
    """Carries the ids of runs to workers. It imports no worker: a worker registers itself."""

    def register(self, receiver: Receiver | None) -> None:
        """Deliver to this process's worker, on the running event loop; None removes it."""

    def enqueue_next(self, session_id: str) -> None:
        """Hand over the session's next run if none is in progress, once the caller's transaction is committed."""

    def fill_places(self) -> None:
        """Hand over runs that had to wait because their owner or agent had as many in progress as they may have."""

    def prefer(self, run_ids: list[uuid.UUID]) -> list[uuid.UUID]:
        """Return the runs without those whose owners have more urgent ones: these come first, in their places."""

    def cancel(self, run_id: uuid.UUID) -> None:
        """Have the run stopped once the caller's transaction is committed."""

    def workers_alive(self) -> int:
        """Return how many workers are alive."""

    def set_draining(self) -> None:
        """Record that this process is about to stop."""

    def is_draining(self) -> bool:
        """Return whether this process is about to stop."""

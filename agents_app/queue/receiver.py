"""What an engine asks of a worker."""

import uuid
from typing import Protocol


class Receiver(Protocol):
    """A worker, as an engine sees it."""

    draining: bool

    def wake(self) -> None:
        """There may be something to claim."""

    async def run(self, run_id: uuid.UUID) -> None:
        """Execute that run to its end, if it can be claimed."""

    def abort(self, run_id: uuid.UUID) -> None:
        """Stop that run now, if it is one of yours."""

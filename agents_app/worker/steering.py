"""The messages that a run takes while it works: from the queue into the conversation."""

from agents_app.database.threads import DatabaseThreads
from agents_app.engine.spec import Message
from agents_app.event_log import RunLog
from agents_app.models import Run
from agents_app.runs import steering
from agents_app.worker.replay import steered_message

_threads = DatabaseThreads("steering", 1)  # not that of claims: a run waits for it


class RunSteering:
    """Takes the messages for one claimed run. It hears of them by what it writes: see `RunLog.is_steered`."""

    def __init__(self, run: Run, log: RunLog) -> None:
        self._run = run
        self._log = log
        self._was_steered = run.is_steered  # when it was claimed

    async def take(self, iteration: int) -> list[Message]:
        """Return what waits, which the run has from now on. What was written of the run before comes first in the log.

        Raises:
            Fenced, StorageUnavailable: the run cannot continue here.
        """
        if not (self._was_steered or self._log.is_steered):
            return []
        self._was_steered = False
        await self._log.commit()
        return [steered_message(row) for row in await _threads.run(steering.take, self._run, iteration)]

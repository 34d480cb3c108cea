"""The loop that fires due tasks. Every worker runs one; they need not know about each other."""

import asyncio
import contextlib
import logging

from agents_app import clock
from agents_app.database.threads import DatabaseThreads
from agents_app.notifier import task_changes
from agents_app.scheduler.due import due_work
from agents_app.scheduler.firing import fire_due
from agents_app.scheduler.postponed import start_postponed
from agents_app.scheduler.settling import settle
from agents_app.scheduler.webhooks import Sender

logger = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds; the delay until a change by another process is seen
BATCH = 20  # tasks, or runs, in one transaction


class Ticker:
    """Looks for due work every second, at the next due moment, and when it is woken."""

    def __init__(self) -> None:
        self._database = DatabaseThreads("ticker", 1)
        self._woken = asyncio.Event()
        self._webhooks = Sender()

    async def run(self) -> None:
        """Fire what is due, until cancelled."""
        with task_changes.listen_with(self._woken):
            try:
                while True:
                    pause = await self._tick()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._woken.wait()
                    self._woken.clear()
            finally:
                self._webhooks.stop()

    def wake(self) -> None:
        """Look now: a run has ended, or something else may have become due."""
        self._woken.set()

    async def _tick(self) -> float:
        """Do what is due. Returns the seconds until the next tick."""
        try:
            pause, has_webhooks = await self._database.run(tick)
        except Exception:
            logger.exception("Could not look for due tasks; trying again")
            return INTERVAL
        if has_webhooks:
            self._webhooks.start()
        return pause


def tick() -> tuple[float, bool]:
    """Do one round: settle, start, fire. Returns the seconds to the next, and whether there are webhooks to send."""
    work = due_work(clock.now())
    more = 0
    if work.ended:
        more += settle(BATCH) == BATCH
    if work.postponed:
        more += start_postponed(BATCH) == BATCH
    if work.due:
        more += fire_due(BATCH)
    if more:
        return 0.0, work.deliveries
    if work.next_at is None:
        return INTERVAL, work.deliveries
    return min(INTERVAL, max(0.0, (work.next_at - clock.now()).total_seconds())), work.deliveries

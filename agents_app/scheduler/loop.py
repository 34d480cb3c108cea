"""The ticker: fires what is due as soon as it is. Every worker has one; they need not know of each other."""

import asyncio
import contextlib
import contextvars
import logging

from agents_app import clock
from agents_app.database.threads import DatabaseThreads
from agents_app.scheduler import webhooks
from agents_app.scheduler.due import due_work
from agents_app.scheduler.firing import fire_due
from agents_app.scheduler.postponed import start_postponed
from agents_app.scheduler.settling import settle

logger = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds; a change that another process makes is seen after so long
BATCH = 20  # of tasks, or runs, in one transaction


class Ticker:
    """Looks every second, at each moment that it knows of, and when it is woken."""

    def __init__(self) -> None:
        self._database = DatabaseThreads("ticker", 1)
        self._news = asyncio.Event()
        self._deliveries = webhooks.Sender()

    async def tick_for_ever(self) -> None:
        """Fire what is due, until it is cancelled."""
        loop = asyncio.get_running_loop()
        clock.listen(lambda: _wake(loop, self._news))
        try:
            while True:
                pause = await self._tick()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._news.wait()
                self._news.clear()
        finally:
            clock.listen(None)
            self._deliveries.stop()

    def wake(self) -> None:
        """A run has ended, or something else may have become due."""
        self._news.set()

    async def _tick(self) -> float:
        """Do what is to be done; returns how many seconds there is nothing to do."""
        try:
            pause, has_deliveries = await self._database.run(tick)
        except Exception:
            logger.exception("Could not look for tasks that are due; trying again")
            return INTERVAL
        if has_deliveries:
            self._deliveries.start()
        return pause


def _wake(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(news.set, context=contextvars.Context())


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

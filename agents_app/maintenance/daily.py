"""Housekeeping: once a day what is old is deleted, by one worker whatever their number."""

import asyncio
import datetime
import logging
import random
import threading
from collections import Counter

from django.conf import settings
from django.utils import timezone

from agents_app.database.threads import DatabaseThreads, write_transaction
from agents_app.maintenance import retention
from agents_app.models import Chore

logger = logging.getLogger(__name__)

PRUNE = "prune"
_LOOK_INTERVAL = 3600.0  # seconds
_RETRY_INTERVAL = 60.0
_PATIENCE = datetime.timedelta(hours=1)  # after which another worker may take up what one did not finish


class _Stopping(Exception):
    """The process ends: the rest is left to others."""


class Housekeeper:
    """Waits for PRUNE_AT, and does it if nobody else has."""

    def __init__(self) -> None:
        self._database = DatabaseThreads("housekeeping", 1)
        self._stopping = threading.Event()

    async def keep_for_ever(self) -> None:
        """Keep house until cancelled; returns at once where no age is set."""
        while retention.by_settings():
            try:
                pause = await self._database.run(self._work)
            except Exception:
                logger.exception("Could not delete what is old; trying again")
                pause = _RETRY_INTERVAL
            await self._database.release()
            await asyncio.sleep(pause + random.uniform(0, 1))  # noqa: S311 — so that not all come at the same time

    def stop(self) -> None:
        """Have it end after the present transaction."""
        self._stopping.set()

    def _work(self) -> float:
        """Prune if that is due and ours to do. Returns how many seconds there is nothing to do."""
        now = timezone.now()
        with write_transaction():
            chore, _ = Chore.objects.get_or_create(name=PRUNE, defaults={"next_at": next_time(now)})
            ours = chore.next_at <= now and Chore.objects.take(PRUNE, seen=chore.next_at, until=now + _PATIENCE)
        if not ours:
            return min(_LOOK_INTERVAL, max(1.0, (chore.next_at - now).total_seconds()))
        counts: Counter[str] = Counter()
        try:
            for rule in retention.by_settings(self._rest):
                counts.update(retention.apply(rule))
        except _Stopping:
            Chore.objects.filter(pk=PRUNE).update(next_at=now)  # whoever is next goes on
            return _RETRY_INTERVAL
        done = timezone.now()
        result = retention.told(counts)
        Chore.objects.filter(pk=PRUNE).update(next_at=next_time(done), done_at=done, result=result)
        logger.info("What was old has been deleted: %s", result)
        return 1.0

    def _rest(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _Stopping


def next_time(now: datetime.datetime) -> datetime.datetime:
    """The next PRUNE_AT, in UTC."""
    today = datetime.datetime.combine(now.astimezone(datetime.UTC).date(), settings.PRUNE_AT, datetime.UTC)
    return today if today > now else today + datetime.timedelta(days=1)

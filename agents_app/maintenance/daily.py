"""Prune old data once a day: one worker does it, whatever their number."""

import asyncio
import datetime
import logging
import random
import threading
from collections import Counter

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from agents_app.database.threads import DatabaseThreads
from agents_app.maintenance import retention, working_folders
from agents_app.models import Chore

logger = logging.getLogger(__name__)

PRUNE = "prune"
_LONGEST_PAUSE = 3600.0  # seconds between two looks at the clock
_RETRY_INTERVAL = 60.0
_LEASE = datetime.timedelta(hours=1)  # after this, another worker may take over what one did not finish


class _Stopping(Exception):
    """The process ends: another worker does the rest."""


class DailyPruning:
    """Waits for PRUNE_AT, and prunes if no other worker has."""

    def __init__(self) -> None:
        self._database = DatabaseThreads("pruning", 1)
        self._stopping = threading.Event()

    async def run(self) -> None:
        """Prune every day until cancelled."""
        while True:
            try:
                pause = await self._database.run(self._prune_if_due)
            except Exception:
                logger.exception("Could not prune old data; trying again")
                pause = _RETRY_INTERVAL
            await self._database.release()
            await asyncio.sleep(pause + random.uniform(0, 1))  # noqa: S311 — so that not all come at the same time

    def stop(self) -> None:
        """Stop after the present transaction."""
        self._stopping.set()

    def _prune_if_due(self) -> float:
        """Prune if it is due and no other worker does. Returns the seconds until the next look."""
        now = timezone.now()
        with transaction.atomic():
            chore, _ = Chore.objects.get_or_create(name=PRUNE, defaults={"next_at": next_time(now)})
            is_ours = chore.next_at <= now and Chore.objects.take(PRUNE, seen=chore.next_at, until=now + _LEASE)
        if not is_ours:
            return min(_LONGEST_PAUSE, max(1.0, (chore.next_at - now).total_seconds()))
        counts: Counter[str] = Counter()
        try:
            for rule in retention.configured_rules(self._sleep):
                counts.update(retention.apply(rule))
            if folders := working_folders.delete_unneeded():
                counts["folders"] = folders
        except _Stopping:
            Chore.objects.filter(pk=PRUNE).update(next_at=now)  # the next worker continues
            return _RETRY_INTERVAL
        done = timezone.now()
        result = retention.describe(counts)
        Chore.objects.filter(pk=PRUNE).update(next_at=next_time(done), done_at=done, result=result)
        logger.info("Pruned old data: %s", result)
        return 1.0

    def _sleep(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _Stopping


def next_time(now: datetime.datetime) -> datetime.datetime:
    """Return the next PRUNE_AT, in UTC."""
    today = datetime.datetime.combine(now.astimezone(datetime.UTC).date(), settings.PRUNE_AT, datetime.UTC)
    return today if today > now else today + datetime.timedelta(days=1)

"""Follow the log of a session: late, live and reconnecting watchers are the same code."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from django.db import DatabaseError

from agents_app.background import spawn
from agents_app.database.threads import DatabaseThreads
from agents_app.event_log import reading
from agents_app.event_log.vocabulary import Event, parse
from agents_app.live import Frame, hub, merge
from agents_app.models import Run
from agents_app.observability import metrics
from agents_app.per_loop import per_loop

logger = logging.getLogger(__name__)

CHUNK = 200
CHUNK_CHARACTERS = 1024 * 1024  # a slow reader's chunk waits in memory, and a row may be as long as an answer
WATCHDOG_INTERVAL = 2.0  # seconds, as the next three
DEAF_INTERVAL = 0.1  # while the channel layer fails
RETRY_INTERVAL = 0.5  # after an error of the database
_IN_FLIGHT = 0.1  # for batches that are on their way

readers = DatabaseThreads("log-reader", 2)


async def follow(session_id: str, after: int) -> AsyncIterator[list[Frame]]:
    """Yield the frames after `after` of the session's log, forever: each number once, in order, without a gap.

    Close the iterator to stop. It subscribes before it reads, so that no frame is missed in between.

    Raises:
        SessionNotFound: the session was deleted meanwhile.
    """
    cursor = after
    start_watchdog()
    async with hub().subscribe(session_id) as subscription:
        while True:
            async for frames in _from_log(session_id, cursor):
                cursor = frames[-1].seq
                yield frames
            hub().advance(session_id, cursor)
            while (batch := await subscription.next()) is not None:
                continuing, is_whole = _continuing(batch, cursor)
                if continuing:
                    cursor = continuing[-1].seq
                    yield merge(continuing)
                if not is_whole:
                    metrics.BATCHES_LOST.inc()
                    break


async def follow_run(run: Run, after: int) -> AsyncIterator[list[Event]]:
    """Yield the events of one run after `after`, until its last one. See `before_run`.

    Raises:
        SessionNotFound: the session was deleted meanwhile.
    """
    async with contextlib.aclosing(follow(run.session_id, after)) as batches:  # type: ignore[type-var]
        async for frames in batches:
            events = [event for frame in frames if (event := parse(frame)).run_id == run.pk]
            if events:
                yield events
            if any(event.ends_run for event in events):
                return


def before_run(run: Run) -> int:
    """Return the number after which the run's events begin."""
    return run.session.last_seq if run.first_seq is None else run.first_seq - 1


def _continuing(frames: list[Frame], cursor: int) -> tuple[list[Frame], bool]:
    """Return the frames that continue the cursor, and whether none was missing between them."""
    continuing: list[Frame] = []
    for frame in frames:
        if frame.seq <= cursor:
            continue
        if frame.first > cursor + 1:
            return continuing, False
        continuing.append(frame)
        cursor = frame.seq
    return continuing, True


async def _from_log(session_id: str, cursor: int) -> AsyncIterator[list[Frame]]:
    while True:
        rows = await _read(session_id, cursor)
        if not rows:
            return
        if rows[0].first > cursor + 1:
            metrics.GAPS.inc()
            logger.error("Session %s has a gap between %d and %d", session_id, cursor, rows[0].first)
        cursor = rows[-1].seq
        yield merge([row.as_frame() for row in rows])
        if len(rows) < CHUNK and sum(len(row.frame) for row in rows) <= CHUNK_CHARACTERS:
            return


async def _read(session_id: str, cursor: int) -> list[reading.Row]:
    """Return a chunk of the log. Wait for a database that does not answer: the watcher keeps its cursor."""
    while True:
        try:
            return await readers.run(reading.read, session_id, cursor, CHUNK, most=CHUNK_CHARACTERS)
        except DatabaseError as error:
            logger.warning("The log cannot be read; trying again: %r", error)
        await asyncio.sleep(RETRY_INTERVAL)


class _Watchdog:
    """Finds frames that were lost at the end of a session, where no later batch would show the gap; and new sessions.

    While the channel layer fails, watchers get their frames through this alone, so it looks more often.
    """

    def __init__(self) -> None:
        self._hub = hub()
        self._task = spawn(self._run(), name="log watchdog")
        self._hub.start_checking()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(DEAF_INTERVAL if self._hub.is_deaf else WATCHDOG_INTERVAL)
            try:
                if self._hub.heads():
                    await self._find_lost()
            except Exception:
                logger.exception("The watchdog could not read the log; it continues")

    async def _find_lost(self) -> None:
        before = self._hub.heads()
        newest = await readers.run(reading.heads, before)
        await asyncio.sleep(_IN_FLIGHT)
        for session_id, head in self._hub.heads().items():
            if session_id not in before:
                continue
            if newest.get(session_id, 0) < before[session_id]:  # deleted, and the message about it was lost
                self._hub.end(session_id)
            elif head < newest.get(session_id, 0):
                self._hub.mark_lost(session_id)


start_watchdog = per_loop(_Watchdog)  # of the running event loop; later calls do nothing

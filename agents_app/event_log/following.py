"""The one way to watch a session: late, live and reconnecting are the same code."""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator

from django.db import DatabaseError

from agents_app.database.threads import DatabaseThreads
from agents_app.event_log import reading
from agents_app.live import Frame, Hub, hub, merged
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

CHUNK = 200
CHUNK_CHARACTERS = 1024 * 1024  # a slow reader's chunk waits in memory, and a row may be as long as an answer
WATCHDOG_INTERVAL = 2.0
DEAF_INTERVAL = 0.1
RETRY_INTERVAL = 0.5
_IN_FLIGHT = 0.1

_readers = DatabaseThreads("log-reader", 2)
_watchdogs: dict[int, "asyncio.Task[None]"] = {}


async def follow(session_id: str, after: int) -> AsyncIterator[list[Frame]]:
    """Yield what follows `after` in the session's log, for ever: each number once, in order, without a gap.

    Close the iterator to stop. It subscribes before it reads, so that nothing falls between.

    Raises:
        SessionNotFound: the session was deleted meanwhile.
    """
    cursor = after
    process = hub()
    _ensure_watchdog(process)
    async with process.subscribe(session_id) as tail:
        while True:
            async for frames in _from_log(session_id, cursor):
                cursor = frames[-1].seq
                yield frames
            process.reached(session_id, cursor)
            while (news := await tail.next()) is not None:
                taken, whole = _continuing(news, cursor)
                if taken:
                    cursor = taken[-1].seq
                    yield merged(taken)
                if not whole:
                    metrics.CARRIERS_LOST.inc()
                    break


def _continuing(frames: list[Frame], cursor: int) -> tuple[list[Frame], bool]:
    """The frames that continue the cursor, and whether nothing was missing between them."""
    taken: list[Frame] = []
    for frame in frames:
        if frame.seq <= cursor:
            continue
        if frame.first > cursor + 1:
            return taken, False
        taken.append(frame)
        cursor = frame.seq
    return taken, True


async def _from_log(session_id: str, cursor: int) -> AsyncIterator[list[Frame]]:
    while True:
        found = await _read(session_id, cursor)
        if not found:
            return
        if found[0].first > cursor + 1:
            metrics.GAPS.inc()
            logger.error("Session %s has a gap between %d and %d", session_id, cursor, found[0].first)
        cursor = found[-1].seq
        yield merged([row.as_frame() for row in found])
        if len(found) < CHUNK and sum(len(row.frame) for row in found) <= CHUNK_CHARACTERS:
            return


async def _read(session_id: str, cursor: int) -> list[reading.Row]:
    """A chunk of the log; a database that is away is waited for: the watcher keeps its place."""
    while True:
        try:
            return await _readers.run(reading.read, session_id, cursor, CHUNK, most=CHUNK_CHARACTERS)
        except DatabaseError as error:
            logger.warning("The log cannot be read; trying again: %r", error)
        await asyncio.sleep(RETRY_INTERVAL)


def _ensure_watchdog(process: Hub) -> None:
    loop = asyncio.get_running_loop()
    running = _watchdogs.get(id(loop))
    if running is None or running.done():
        _watchdogs[id(loop)] = loop.create_task(_watch(process), context=contextvars.Context())
        process.check_for_ever()


async def _watch(process: Hub) -> None:
    """Find what was lost at the end of a session, where no later carrier would show the gap.

    While the layer does not answer, this is how watchers get their frames: more often then.
    """
    while True:
        await asyncio.sleep(DEAF_INTERVAL if process.is_deaf else WATCHDOG_INTERVAL)
        try:
            if process.watched():
                await _find_lost(process)
        except Exception:
            logger.exception("The watchdog could not read the log; it goes on")


async def _find_lost(process: Hub) -> None:
    watched = process.watched()
    newest = await _readers.run(reading.heads, watched)
    await asyncio.sleep(_IN_FLIGHT)
    for session_id, head in process.watched().items():
        if session_id not in watched:
            continue
        if newest.get(session_id, 0) < watched[session_id]:  # deleted; perhaps there is a new one of that id
            process.end(session_id)
        elif head < newest.get(session_id, 0):
            process.lose(session_id)

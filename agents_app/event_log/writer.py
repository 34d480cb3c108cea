"""Group commit: the events of all runs of a worker are written in one transaction, then published.

No watcher sees a token that is not in the database. The interval between two transactions adapts: a few milliseconds
while there is little to do, more as the event loop or the writer's thread becomes busy.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents_app import live
from agents_app.database.threads import UNAVAILABLE, DatabaseThreads
from agents_app.engine.events import Delta
from agents_app.event_log import transaction
from agents_app.event_log.batch import Attempt, Entry, Head, InTransaction, Segment, Write, Written
from agents_app.event_log.charges import Charge
from agents_app.event_log.vocabulary import EventData, EventType, encode
from agents_app.exceptions import Fenced, StorageUnavailable
from agents_app.foreign_text import clean_json
from agents_app.models import Step
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

SHORTEST_INTERVAL = 0.002
LONGEST_INTERVAL = 0.1
RETRY_TIMEOUT = 10.0  # seconds for which a failed transaction is tried again
_FULL = 256 * 1024  # characters of one run that may wait for the writer


class RunLog:
    """The events of one claimed run. All that it writes is refused once its fence is outdated.

    Once a part could not be written, later events are dropped: they would leave a gap. `commit` and `room` raise then.
    """

    def __init__(self, writer: "LogWriter", head: Head) -> None:
        self._writer = writer
        self._head = head
        self._entries: list[Entry] = []
        self._steps: list[Step] = []
        self._changes: dict[str, Any] = {}
        self._callbacks: list[InTransaction] = []
        self._charges: list[Charge] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._size = 0
        self._has_room = asyncio.Event()
        self._broken: Exception | None = None

    @property
    def session_id(self) -> str:
        return self._head.session_id

    @property
    def is_steered(self) -> bool:
        """Whether messages waited for the run when it last wrote."""
        return self._head.is_steered

    def delta(self, delta: Delta) -> None:
        """Append a piece of a step. Pieces that wait together become one row."""
        if self._broken:
            return
        self._size += len(delta.content)
        last = self._entries[-1] if self._entries else None
        if last is not None and last.delta is not None and last.delta.step == delta.step:
            last.pieces.append(delta.content)
        else:
            self._entries.append(Entry(EventType.REASONING_DELTA, delta=delta, pieces=[delta.content]))
        self._writer.wake(self)

    def add(self, data: EventData, *, replaces: tuple[int, ...] = ()) -> None:
        """Append a whole event. It replaces the deltas of the steps in `replaces`."""
        if self._broken:
            return
        self._entries.append(Entry(data.event_type, data=encode(data), replaces=replaces))
        self._writer.wake(self)

    def step(self, row: Step) -> None:
        """Write the row of a step, in the same transaction as the events before it."""
        if self._broken:
            return
        row.clean_texts()
        self._steps.append(row)
        self._writer.wake(self)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that the source should slow down: see `room`."""
        return self._size > _FULL or self._broken is not None

    async def room(self) -> None:
        """Wait until there is room again.

        Raises:
            Fenced, StorageUnavailable: nothing more of this run will be written.
        """
        while self.is_full:
            if self._broken:
                raise self._broken
            self._has_room.clear()
            await self._has_room.wait()

    async def commit(self, *, then: InTransaction | None = None, charge: Charge | None = None, **changes: Any) -> None:
        """Write all that waits, with `changes` to the run's row. Return when it is in the database.

        `then` is called on the writer's thread, in the same transaction, after the changes. `charge` is applied in it.

        Raises:
            Fenced, StorageUnavailable: it is not, and nothing more of this run will be written.
        """
        if self._broken:
            raise self._broken
        self._changes |= {name: clean_json(value) for name, value in changes.items()}
        if then is not None:
            self._callbacks.append(then)
        if charge is not None:
            self._charges.append(charge)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._writer.wake(self)
        await waiter

    def renewed(self) -> "RunLog":
        """Return a log of the same run that can be written again, after this one refused a part."""
        return RunLog(self._writer, self._head)

    def take(self) -> "_Part":
        """Hand over all that waits."""
        write = Write(self._head, self._entries, self._steps, self._changes, self._callbacks, self._charges)
        part = _Part(self, write, self._waiters)
        self._entries, self._steps, self._changes, self._waiters = [], [], {}, []
        self._callbacks, self._charges = [], []
        self._size = 0
        self._has_room.set()
        return part

    def fail(self, error: Exception, waiters: list[asyncio.Future[None]]) -> None:
        """Refuse all that waits and all that comes later."""
        self._broken = self._broken or error
        for waiter in [*waiters, *self.take().waiters]:
            if not waiter.done():
                waiter.set_exception(error)
        self._has_room.set()


class _Part(NamedTuple):
    """The part of one run in a batch, and who waits for its commit."""

    log: RunLog
    write: Write
    waiters: list[asyncio.Future[None]]


@dataclass(slots=True)
class Interval:
    """The pause between two transactions: longer while the event loop or the writer's thread is busy."""

    seconds: float = SHORTEST_INTERVAL
    _since: float = field(default_factory=time.monotonic)
    _cpu: float = field(default_factory=time.thread_time)
    _writing: float = 0.0

    def adapt(self, seconds: float) -> None:
        """Count a transaction, and adapt every tenth of a second."""
        self._writing += seconds
        now = time.monotonic()
        if (span := now - self._since) < 0.1:
            return
        cpu = time.thread_time()
        busy = max(cpu - self._cpu, self._writing) / span
        self._since, self._cpu, self._writing = now, cpu, 0.0
        if busy > 0.6:
            self.seconds = min(max(self.seconds, 0.005) * 1.3, LONGEST_INTERVAL)
        elif busy < 0.45:
            self.seconds = max(self.seconds / 1.2, SHORTEST_INTERVAL)


class LogWriter:
    """Writes the events of all runs of this process, on one thread and one connection."""

    def __init__(self) -> None:
        self._waiting: dict[RunLog, None] = {}
        self._changed = asyncio.Event()
        self._thread = DatabaseThreads("log-writer", 1)
        self._task: asyncio.Task[None] | None = None
        self._retry_timeout = RETRY_TIMEOUT
        self._flushing = asyncio.Lock()  # the events of a run are written in their order
        self.interval = Interval()
        self._waiting_since: float | None = None  # the oldest event that waits; and that is being written
        self._writing_since: float | None = None

    def open(self, run_id: uuid.UUID, session_id: str, fence: int, segments: Sequence[Segment] = ()) -> RunLog:
        """Return the log of a run that this process has claimed.

        `segments`: the delta rows that an earlier worker left at the end of the session's log.
        """
        last_seq = segments[-1].last if segments else 0
        return RunLog(self, Head(run_id, session_id, fence, list(segments), last_seq))

    def start(self) -> None:
        self._task = asyncio.create_task(self._write_for_ever())
        metrics.watch_log_lag(self._lag)

    async def stop(self) -> None:
        """Write what waits, then end. Do not wait long for a database that fails now."""
        self._retry_timeout = 1.0
        while self._waiting or self._flushing.locked():
            await self._flush()
        if self._task:
            self._task.cancel()
        await self._thread.close()

    def wake(self, log: RunLog) -> None:
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._waiting[log] = None
        self._changed.set()

    def _lag(self) -> float:
        """Return the seconds for which the oldest event has waited to be written."""
        since = self._writing_since or self._waiting_since
        return time.monotonic() - since if since is not None else 0.0

    async def _write_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        not_before = 0.0
        while True:
            await self._changed.wait()
            if (pause := not_before - loop.time()) > 0:
                await asyncio.sleep(pause)
            not_before = loop.time() + self.interval.seconds
            try:
                await self._flush()
            except Exception:
                logger.exception("The log's writer failed; it continues")

    async def _flush(self) -> None:
        async with self._flushing:
            await self._flush_waiting()

    async def _flush_waiting(self) -> None:
        self._changed.clear()
        batch = [log.take() for log in self._waiting]
        self._waiting.clear()
        self._writing_since, self._waiting_since = self._waiting_since, None
        if not batch:
            return
        began = time.monotonic()
        written = await self._write_or_fail(batch)
        took = time.monotonic() - began
        self.interval.adapt(took)
        since, self._writing_since = self._writing_since or began, None
        await live.publish((done.head.session_id, done.frames) for done in written if done.frames)
        _answer(batch, written)
        metrics.FLUSH_SECONDS.observe(took)
        if events := sum(len(done.frames) for done in written):
            metrics.FLUSH_EVENTS.observe(events)
            metrics.TOKEN_AGE.observe(time.monotonic() - since)

    async def _write_or_fail(self, batch: list[_Part]) -> list[Written]:
        """Write the batch. If that fails for good, write each run's part alone: one must not cost the others."""
        try:
            return await self._write(batch)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, UNAVAILABLE):
                return [done for part in batch for done in await self._write_or_fail([part])]
            logger.exception("The event log refused a transaction")
            reason = StorageUnavailable("The server could not save the run's progress.")
            reason.__cause__ = error
            for part in batch:
                part.log.fail(reason, part.waiters)
            return []

    async def _write(self, batch: list[_Part]) -> list[Written]:
        """Write the batch in one transaction. Try again while the database does not answer."""
        began = time.monotonic()
        pause = 0.05
        attempt = Attempt()
        writes = [part.write for part in batch]
        while True:
            try:
                return await self._thread.run(transaction.write, writes, attempt)
            except UNAVAILABLE as error:
                if time.monotonic() > began + self._retry_timeout:
                    raise
                logger.warning("The database refuses the event log; trying again: %r", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)


def _answer(batch: list[_Part], written: list[Written]) -> None:
    owned = {done.head for done in written}
    for part in batch:
        if part.write.head in owned:
            for waiter in part.waiters:
                if not waiter.done():
                    waiter.set_result(None)
        else:
            part.log.fail(Fenced("Another worker has this run now."), part.waiters)

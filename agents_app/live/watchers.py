"""The watchers of this process: a bounded buffer for each, and how a session's frames are spread over them."""

import asyncio

from agents_app.exceptions import SessionNotFound
from agents_app.live.frames import Frame, merge
from agents_app.observability import metrics

_BUFFER_FRAMES = 256
_BUFFER_BYTES = 256 * 1024
# Frames per second that the crowd of one session may cost this process: more watchers get fewer, larger frames.
_CROWD = 40
_CROWD_FRAMES_PER_SECOND = 10_000


class Subscription:
    """The frames that wait for one watcher: bounded. If it must drop frames, it tells the watcher."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._bytes = 0
        self._lost = False
        self._ended = False
        self._changed = asyncio.Event()

    def offer(self, frames: list[Frame]) -> None:
        self._frames += frames
        self._bytes += sum(len(frame.text) for frame in frames)
        if len(self._frames) > _BUFFER_FRAMES or self._bytes > _BUFFER_BYTES:
            metrics.SLOW_WATCHERS.labels("reread").inc()
            self.mark_lost()
        self._changed.set()

    def mark_lost(self) -> None:
        """Drop the frames that wait: the watcher reads the log instead."""
        self._frames, self._bytes, self._lost = [], 0, True
        self._changed.set()

    def end(self) -> None:
        """Tell the watcher that the session was deleted."""
        self._ended = True
        self._changed.set()

    async def next(self) -> list[Frame] | None:
        """Wait for frames and return them; None if some were lost.

        Raises:
            SessionNotFound: the session was deleted.
        """
        await self._changed.wait()
        self._changed.clear()
        if self._ended:
            raise SessionNotFound("The session was deleted.")
        frames, lost = self._frames, self._lost
        self._frames, self._bytes, self._lost = [], 0, False
        return None if lost else frames


class SessionFanOut:
    """Spreads the frames of one session over its watchers in this process. `head`: the newest number so far."""

    def __init__(self) -> None:
        self.subscriptions: set[Subscription] = set()
        self.head = 0
        self._waiting: list[Frame] = []
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = 0.0

    def advance(self, seq: int) -> None:
        self.head = max(self.head, seq)

    def offer(self, frame: Frame) -> None:
        self.advance(frame.seq)
        if len(self.subscriptions) < _CROWD:
            for subscription in self.subscriptions:
                subscription.offer([frame])
            return
        self._waiting.append(frame)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._next_at, loop.time()), self._flush)

    def _flush(self) -> None:
        frames, self._waiting, self._timer = merge(self._waiting), [], None
        self._next_at = asyncio.get_running_loop().time() + len(self.subscriptions) / _CROWD_FRAMES_PER_SECOND
        for subscription in self.subscriptions:
            subscription.offer(frames)

    def mark_lost(self) -> None:
        for subscription in self.subscriptions:
            subscription.mark_lost()

    def end(self) -> None:
        for subscription in self.subscriptions:
            subscription.end()

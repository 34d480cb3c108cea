"""The hub of this process: receives frames from the channel layer and hands them to the watchers."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import orjson
from channels.layers import get_channel_layer

from agents_app.background import spawn
from agents_app.live import layer, publishing
from agents_app.live.frames import Frame
from agents_app.live.questions import Questions
from agents_app.live.watchers import SessionFanOut, Subscription
from agents_app.observability import metrics
from agents_app.per_loop import per_loop

logger = logging.getLogger(__name__)

CHECK_INTERVAL = 2.0  # seconds
_RETRY_INTERVAL = 1.0  # seconds


class Hub:
    """Hands the batches that reach this process to its watchers. They share one channel.

    While the layer fails, the hub keeps trying, and `is_deaf` tells watchers to read the log.
    """

    def __init__(self) -> None:
        self.questions = Questions(self.listen)
        self.is_deaf = False
        self._sessions: dict[str, SessionFanOut] = {}
        self._watchers_of_group: Counter[str] = Counter()
        self._joined: set[str] = set()
        self._channel: str | None = None
        self._lock = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._checker: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def subscribe(self, session_id: str) -> AsyncIterator[Subscription]:
        """Yield a subscription that gets this session's frames from now on."""
        subscription = Subscription()
        fan_out = self._sessions.setdefault(session_id, SessionFanOut())
        fan_out.subscriptions.add(subscription)
        group = layer.group_of(session_id)
        self._watchers_of_group[group] += 1
        try:
            await self.listen()
            yield subscription
        finally:
            self._watchers_of_group[group] -= 1
            self._remove(fan_out, session_id, subscription)
            await self.listen()

    def _remove(self, fan_out: SessionFanOut, session_id: str, subscription: Subscription) -> None:
        fan_out.subscriptions.discard(subscription)
        if not fan_out.subscriptions and self._sessions.get(session_id) is fan_out:
            del self._sessions[session_id]

    def heads(self) -> dict[str, int]:
        """Return the watched sessions, with the newest number that each one's watchers got."""
        return {session_id: fan_out.head for session_id, fan_out in self._sessions.items()}

    def advance(self, session_id: str, seq: int) -> None:
        """Note that a watcher has read the log up to `seq`: nothing before it can be missing."""
        if fan_out := self._sessions.get(session_id):
            fan_out.advance(seq)

    def mark_lost(self, session_id: str) -> None:
        """Tell the watchers of a session that frames were lost."""
        if fan_out := self._sessions.get(session_id):
            metrics.BATCHES_LOST.inc()
            fan_out.mark_lost()

    def end(self, session_id: str) -> None:
        """Tell the watchers of a session that it was deleted. Later watchers get a new fan-out."""
        if fan_out := self._sessions.pop(session_id, None):
            fan_out.end()

    def start_checking(self) -> None:
        """Keep `is_deaf` up to date while somebody watches."""
        if self._checker is None:
            self._checker = spawn(self._check(), name="channel layer check")

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            if self._sessions:
                works = await self.questions.layer_works()
                if works and self.is_deaf:
                    logger.warning("The channel layer answers again")
                    self.is_deaf = False
                elif not works:
                    self._note_failure("no answer")

    async def listen(self) -> str | None:
        """Join the groups of the watched sessions and leave the others, as far as the layer allows.

        Returns:
            The channel of this process; None if it has none yet.
        """
        groups = {group for group, count in self._watchers_of_group.items() if count > 0}
        if self.questions.has_handlers:
            groups.add(layer.ALL_HUBS)
        if self._reader is not None and groups == self._joined:
            return self._channel
        async with self._lock:
            try:
                get_channel_layer()  # the first call imports its module: that does not count as a slow Redis
                async with asyncio.timeout(layer.TIMEOUT):
                    await self._change_groups(groups)
            except Exception as error:  # whatever the layer's backend raises
                self._note_failure(error)
        return self._channel

    async def _change_groups(self, groups: set[str]) -> None:
        channel_layer = get_channel_layer()
        if self._reader is None:
            self._channel = await channel_layer.new_channel()
            self._reader = spawn(self._read(), name="channel layer reader")
        for group in groups - self._joined:
            await channel_layer.group_add(group, self._channel)
            self._joined.add(group)
        for group in self._joined - groups:
            await channel_layer.group_discard(group, self._channel)
            self._joined.discard(group)

    def _note_failure(self, reason: object) -> None:
        metrics.REDIS_ERRORS.labels("listen").inc()
        if not self.is_deaf:
            logger.warning("The channel layer fails (%r): watchers read the log", reason)
        self.is_deaf = True

    async def _read(self) -> None:
        channel_layer = get_channel_layer()
        while True:
            try:
                await self._receive(await channel_layer.receive(self._channel))
            except asyncio.CancelledError:
                raise
            except Exception as error:  # whatever the layer's backend raises
                self._note_failure(error)
                await asyncio.sleep(_RETRY_INTERVAL)

    async def _receive(self, message: dict[str, Any]) -> None:
        if message["type"] == "batch":
            self._hand_out(orjson.loads(message["body"]))
        elif message["type"] == "end":
            for session_id in orjson.loads(message["body"]):
                self.end(session_id)
        else:
            await self.questions.receive(message)

    def _hand_out(self, items: list[list[Any]]) -> None:
        for session_id, first, seq, is_delta, text in items:
            fan_out = self._sessions.get(session_id)
            if fan_out is None:
                continue
            if text is None:
                fan_out.advance(seq)
                fan_out.mark_lost()
            else:
                fan_out.offer(Frame(first, seq, is_delta, text))


def _make_hub() -> Hub:
    publishing.attach()
    return Hub()


hub = per_loop(_make_hub)  # the hub of the running event loop

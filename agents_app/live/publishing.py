"""Publish committed frames through the channel layer, in batches.

A batch is a hint. It may be lost, doubled or late: a follower takes from it only what continues its cursor, and reads
the log for the rest.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Iterable
from typing import Any

import orjson
from channels.layers import get_channel_layer

from agents_app.background import spawn
from agents_app.live import layer
from agents_app.live.frames import Frame
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

LARGEST_BATCH = 64 * 1024  # bytes
_RETRY_TIMEOUT = 0.1  # seconds; while the layer hangs, each attempt delays the next tokens
_RETRY_PAUSE = 1.0  # seconds without an attempt after a failure: tokens must not wait for a layer that hangs

FramesBySession = Iterable[tuple[str, list[Frame]]]


class Publisher:
    """Sends the frames of this process to the hubs of all processes."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failed_at: float | None = None

    def attach(self) -> None:
        """Let the threads of this process publish through the running event loop."""
        self._loop = asyncio.get_running_loop()

    async def publish(self, frames: FramesBySession) -> None:
        """Send frames by session. Log a failure and leave the frames to the readers of the log."""
        bodies: dict[str, list[list[Any]]] = {}
        for session_id, group in frames:
            bodies.setdefault(layer.group_of(session_id), []).extend([session_id, *frame] for frame in group)
        for group_name, items in bodies.items():
            for body in _batches(items):
                await self._send(group_name, body)

    def publish_soon(self, frames: FramesBySession) -> None:
        """Publish from a thread without an event loop. A process that serves nobody has nobody to publish for."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._spawn_publish, frames, context=contextvars.Context())

    def _spawn_publish(self, frames: FramesBySession) -> None:
        spawn(self.publish(frames))

    def end_soon(self, session_ids: Iterable[str]) -> None:
        """Tell the hubs of all processes, from a thread, that these sessions were deleted."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._spawn_end, list(session_ids), context=contextvars.Context())

    def _spawn_end(self, session_ids: list[str]) -> None:
        spawn(self._end(session_ids))

    async def _end(self, session_ids: list[str]) -> None:
        groups: dict[str, list[str]] = {}
        for session_id in session_ids:
            groups.setdefault(layer.group_of(session_id), []).append(session_id)
        for group_name, ids in groups.items():
            await self._send(group_name, orjson.dumps(ids), kind="end")

    async def _send(self, group: str, body: bytes, *, kind: str = "batch") -> None:
        if self._failed_at is not None and time.monotonic() < self._failed_at + _RETRY_PAUSE:
            return
        try:
            async with asyncio.timeout(layer.TIMEOUT if self._failed_at is None else _RETRY_TIMEOUT):
                await get_channel_layer().group_send(group, {"type": kind, "body": body})
        except Exception as error:  # whatever the layer's backend raises
            metrics.REDIS_ERRORS.labels("publish").inc()
            if self._failed_at is None:
                logger.warning("The channel layer fails; frames are not published meanwhile: %r", error)
            self._failed_at = time.monotonic()
        else:
            self._failed_at = None


def _batches(items: list[list[Any]]) -> Iterable[bytes]:
    """Encode in pieces of at most LARGEST_BATCH. Of a single frame that is larger, only the range is sent."""
    body = orjson.dumps(items)
    if len(body) <= LARGEST_BATCH:
        yield body
    elif len(items) == 1:
        yield orjson.dumps([[*items[0][:4], None]])
    else:
        half = len(items) // 2
        yield from _batches(items[:half])
        yield from _batches(items[half:])


_publisher = Publisher()  # of this process
attach = _publisher.attach
publish = _publisher.publish
publish_soon = _publisher.publish_soon
end_soon = _publisher.end_soon

"""The live path: carriers of frames through the channel layer, and the hub of this process that hands them out.

A carrier is a hint. It may be lost, doubled or late: whoever follows a log takes from it only what continues the
cursor, and reads the log for the rest.
"""

import asyncio
import contextlib
import contextvars
import logging
import time
import uuid
import weakref
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, NamedTuple

import orjson
from channels.layers import get_channel_layer
from django.conf import settings

from agents_app.exceptions import SessionNotFound
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

LARGEST_CARRIER = 64 * 1024
LARGEST_MERGED_FRAME = 32 * 1024
EVERYBODY = "hubs"  # the group of all hubs that answer questions
CHECK_INTERVAL = 2.0
_LAYER_TIMEOUT = 1.0  # seconds
_LAYER_RETRY_TIMEOUT = 0.1  # where it hangs, each attempt makes the next tokens wait
_LAYER_PAUSE = 1.0  # seconds without trying after a failure: tokens must not wait for a layer that hangs
_TAIL_FRAMES = 256
_TAIL_BYTES = 256 * 1024
# Frames a second that one session's crowd may cost this process: more watchers get fewer, larger frames.
_CROWD = 40
_CROWD_FRAMES_PER_SECOND = 10_000


class Frame(NamedTuple):
    """A frame of the log as it goes out. `is_delta`: it may be merged with its neighbours."""

    first: int
    seq: int
    is_delta: bool
    text: str


def merged(frames: list[Frame]) -> list[Frame]:
    """The same story in fewer frames: adjacent deltas of one step become one."""
    if len(frames) < 2 or sum(frame.is_delta for frame in frames) < 2:
        return frames
    result: list[Frame] = []
    group: list[Frame] = []
    for frame in frames:
        if frame.is_delta:
            group.append(frame)
            continue
        result += _merged_deltas(group)
        group = []
        result.append(frame)
    return result + _merged_deltas(group)


def _merged_deltas(frames: list[Frame]) -> list[Frame]:
    if len(frames) < 2:
        return frames
    result: list[Frame] = []
    step: tuple[Any, ...] | None = None
    body: dict[str, Any] = {}
    pieces: list[str] = []
    size = first = seq = 0

    def close() -> None:
        if step is not None:
            body["seq"], body["first"], body["data"]["content"] = seq, first, "".join(pieces)
            result.append(Frame(first, seq, True, orjson.dumps(body).decode()))

    for frame in frames:
        parsed = orjson.loads(frame.text)
        data = parsed["data"]
        identity = (parsed["run_id"], data["step"], data["type"])
        if identity != step or size > LARGEST_MERGED_FRAME:
            close()
            step, body, pieces, first, size = identity, parsed, [], frame.first, 0
        pieces.append(data["content"])
        size += len(data["content"])
        seq = frame.seq
        body["timestamp"] = parsed["timestamp"]
    close()
    return result


def bucket(session_id: str) -> str:
    """The channel-layer group that carries this session's frames, among others."""
    return f"log.{zlib.crc32(session_id.encode()) % settings.LIVE_BUCKETS}"


async def publish(frames: Iterable[tuple[str, list[Frame]]]) -> None:
    """Send frames, by session, to the hubs of all processes. What fails is logged and left to the log's readers."""
    bodies: dict[str, list[list[Any]]] = {}
    for session_id, group in frames:
        bodies.setdefault(bucket(session_id), []).extend([session_id, *frame] for frame in group)
    for group_name, items in bodies.items():
        for body in _carriers(items):
            await _send(group_name, body)


async def _send(group: str, body: bytes) -> None:
    global _layer_failed_at, _layer_fails
    if _layer_fails and time.monotonic() < _layer_failed_at + _LAYER_PAUSE:
        return
    try:
        async with asyncio.timeout(_LAYER_RETRY_TIMEOUT if _layer_fails else _LAYER_TIMEOUT):
            await get_channel_layer().group_send(group, {"type": "carrier", "body": body})
    except Exception as error:  # whatever the layer's backend raises
        metrics.REDIS_ERRORS.labels("publish").inc()
        if not _layer_fails:
            logger.warning("The channel layer fails; carriers are left out meanwhile: %r", error)
        _layer_fails, _layer_failed_at = True, time.monotonic()
    else:
        _layer_fails = False


_layer_fails = False
_layer_failed_at = 0.0


def _carriers(items: list[list[Any]]) -> Iterable[bytes]:
    """Encode in pieces of at most LARGEST_CARRIER; a frame that is larger alone is named by its range only."""
    body = orjson.dumps(items)
    if len(body) <= LARGEST_CARRIER:
        yield body
    elif len(items) == 1:
        yield orjson.dumps([[*items[0][:4], None]])
    else:
        half = len(items) // 2
        yield from _carriers(items[:half])
        yield from _carriers(items[half:])


_publishers: set[asyncio.Task[None]] = set()
_serving_loop: asyncio.AbstractEventLoop | None = None


def attach() -> None:
    """Let the threads of this process publish through the running event loop."""
    global _serving_loop
    _serving_loop = asyncio.get_running_loop()


def publish_soon(frames: list[tuple[str, list[Frame]]]) -> None:
    """The same from a thread without an event loop. Where this process serves nobody, there is nobody to tell."""
    if _serving_loop is not None and not _serving_loop.is_closed():
        _serving_loop.call_soon_threadsafe(_publish_task, frames, context=contextvars.Context())


def _publish_task(frames: list[tuple[str, list[Frame]]]) -> None:
    task = asyncio.ensure_future(publish(frames))
    _publishers.add(task)
    task.add_done_callback(_publishers.discard)


class Tail:
    """One watcher's end of the live path: bounded, and honest about what it had to drop."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._bytes = 0
        self._lost = False
        self._ended = False
        self._news = asyncio.Event()

    def offer(self, frames: list[Frame]) -> None:
        self._frames += frames
        self._bytes += sum(len(frame.text) for frame in frames)
        if len(self._frames) > _TAIL_FRAMES or self._bytes > _TAIL_BYTES:
            metrics.SLOW_WATCHERS.labels("reread").inc()
            self.lose()
        self._news.set()

    def lose(self) -> None:
        """Forget what waits: the watcher reads the log instead."""
        self._frames, self._bytes, self._lost = [], 0, True
        self._news.set()

    def end(self) -> None:
        """The session is no more."""
        self._ended = True
        self._news.set()

    async def next(self) -> list[Frame] | None:
        """The frames that have come; None where some were lost. Waits for either.

        Raises:
            SessionNotFound: the session was deleted.
        """
        await self._news.wait()
        self._news.clear()
        if self._ended:
            raise SessionNotFound("The session was deleted.")
        frames, lost = self._frames, self._lost
        self._frames, self._bytes, self._lost = [], 0, False
        return None if lost else frames


class _Watched:
    """A session that somebody in this process watches."""

    def __init__(self) -> None:
        self.tails: set[Tail] = set()
        self.head = 0
        self._waiting: list[Frame] = []
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = 0.0

    def offer(self, frame: Frame) -> None:
        self.head = max(self.head, frame.seq)
        if len(self.tails) < _CROWD:
            for tail in self.tails:
                tail.offer([frame])
            return
        self._waiting.append(frame)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._next_at, loop.time()), self._flush)

    def _flush(self) -> None:
        frames, self._waiting, self._timer = merged(self._waiting), [], None
        self._next_at = asyncio.get_running_loop().time() + len(self.tails) / _CROWD_FRAMES_PER_SECOND
        for tail in self.tails:
            tail.offer(frames)

    def lose(self) -> None:
        for tail in self.tails:
            tail.lose()

    def end(self) -> None:
        for tail in self.tails:
            tail.end()


class Hub:
    """Hands the carriers that reach this process to its watchers. One channel for all of them, not one each.

    Where the layer fails it goes on trying, and `is_deaf` says that watchers live from the log meanwhile.
    """

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._wanted: Counter[str] = Counter()
        self._joined: set[str] = set()
        self._channel: str | None = None
        self._lock = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._checker: asyncio.Task[None] | None = None
        self._echoes: dict[str, asyncio.Future[None]] = {}
        self._answers: dict[str, list[Any]] = {}
        self._handlers: dict[str, Callable[[Any], list[Any]]] = {}
        self._everybody: set[str] = set()
        self.is_deaf = False
        self.lost = 0

    @contextlib.asynccontextmanager
    async def subscribe(self, session_id: str) -> AsyncIterator[Tail]:
        """A tail that gets this session's frames from now on."""
        tail = Tail()
        watched = self._watched.setdefault(session_id, _Watched())
        watched.tails.add(tail)
        self._wanted[bucket(session_id)] += 1
        try:
            await self.listen()
            yield tail
        finally:
            self._wanted[bucket(session_id)] -= 1
            self._forget(watched, session_id, tail)
            await self.listen()

    def watched(self) -> dict[str, int]:
        """The watched sessions, and the newest number that was handed out of each."""
        return {session_id: watched.head for session_id, watched in self._watched.items()}

    def reached(self, session_id: str, seq: int) -> None:
        """A watcher has read the log up to `seq`: nothing before it can be missing."""
        if watched := self._watched.get(session_id):
            watched.head = max(watched.head, seq)

    def lose(self, session_id: str) -> None:
        """Tell the watchers of a session that something did not arrive."""
        if watched := self._watched.get(session_id):
            self.lost += 1
            metrics.CARRIERS_LOST.inc()
            watched.lose()

    def end(self, session_id: str) -> None:
        """Tell the watchers of a session that it was deleted; whoever watches it from now on begins anew."""
        if watched := self._watched.pop(session_id, None):
            watched.end()

    async def answers(self) -> bool:
        """Whether a message that this process sends itself through the layer comes back."""
        await self.listen()
        if self._channel is None:
            return False
        word = uuid.uuid4().hex
        echo = self._echoes[word] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_LAYER_TIMEOUT):
                await get_channel_layer().send(self._channel, {"type": "echo", "word": word})
                await echo
        except Exception as error:  # whatever the layer's backend raises
            logger.debug("The channel layer does not answer: %r", error)
            return False
        finally:
            del self._echoes[word]
        return True

    async def handle(self, question: str, handler: Callable[[Any], list[Any]]) -> None:
        """Let `handler` answer what any process asks all of them with `ask`."""
        self._handlers[question] = handler
        self._everybody = {EVERYBODY}
        await self.listen()

    async def ask(self, question: str, about: Any = None, *, wait: float = 0.3) -> list[Any]:
        """What all processes answer within `wait` seconds. Nobody knows how many there are, so all of it is waited."""
        await self.listen()
        word = uuid.uuid4().hex
        answers = self._answers[word] = []
        body = orjson.dumps({"question": question, "about": about, "word": word, "to": self._channel})
        try:
            async with asyncio.timeout(_LAYER_TIMEOUT):
                await get_channel_layer().group_send(EVERYBODY, {"type": "question", "body": body})
            await asyncio.sleep(wait)
        finally:
            del self._answers[word]
        return answers

    async def _answer(self, asked: dict[str, Any]) -> None:
        if handler := self._handlers.get(asked["question"]):
            body = orjson.dumps({"word": asked["word"], "rows": handler(asked["about"])})
            await get_channel_layer().send(asked["to"], {"type": "answer", "body": body})

    def check_for_ever(self) -> None:
        """Keep `is_deaf` true to the facts while somebody watches."""
        if self._checker is None:
            self._checker = asyncio.create_task(self._check(), context=contextvars.Context())

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            if self._watched:
                hears = await self.answers()
                if hears and self.is_deaf:
                    logger.warning("The channel layer answers again")
                    self.is_deaf = False
                elif not hears:
                    self._failed("no answer")

    async def listen(self) -> None:
        """Be in the groups of the watched sessions, and in no others, as far as the layer lets us."""
        wanted = {group for group, count in self._wanted.items() if count > 0} | self._everybody
        if self._reader is not None and wanted == self._joined:
            return
        async with self._lock:
            try:
                get_channel_layer()  # the first time, its module is loaded: that is not Redis being slow
                async with asyncio.timeout(_LAYER_TIMEOUT):
                    await self._change_groups(wanted)
            except Exception as error:  # whatever the layer's backend raises
                self._failed(error)

    async def _change_groups(self, wanted: set[str]) -> None:
        layer = get_channel_layer()
        if self._reader is None:
            self._channel = await layer.new_channel()
            self._reader = asyncio.create_task(self._read(), context=contextvars.Context())
        for group in wanted - self._joined:
            await layer.group_add(group, self._channel)
            self._joined.add(group)
        for group in self._joined - wanted:
            await layer.group_discard(group, self._channel)
            self._joined.discard(group)

    def _failed(self, reason: object) -> None:
        metrics.REDIS_ERRORS.labels("listen").inc()
        if not self.is_deaf:
            logger.warning("The channel layer fails (%r): watchers read the log", reason)
        self.is_deaf = True

    def _forget(self, watched: _Watched, session_id: str, tail: Tail) -> None:
        watched.tails.discard(tail)
        if not watched.tails and self._watched.get(session_id) is watched:
            del self._watched[session_id]

    async def _read(self) -> None:
        layer = get_channel_layer()
        while True:
            try:
                await self._take(await layer.receive(self._channel))
            except asyncio.CancelledError:
                raise
            except Exception as error:  # whatever the layer's backend raises
                self._failed(error)
                await asyncio.sleep(1)

    async def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "carrier":
                self._hand_out(orjson.loads(message["body"]))
            case "echo":
                if (echo := self._echoes.get(message["word"])) and not echo.done():
                    echo.set_result(None)
            case "question":
                await self._answer(orjson.loads(message["body"]))
            case "answer":
                answer = orjson.loads(message["body"])
                self._answers.get(answer["word"], []).extend(answer["rows"])

    def _hand_out(self, items: list[list[Any]]) -> None:
        for session_id, first, seq, is_delta, text in items:
            watched = self._watched.get(session_id)
            if watched is None:
                continue
            if text is None:
                watched.head = max(watched.head, seq)
                watched.lose()
            else:
                watched.offer(Frame(first, seq, is_delta, text))


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
        attach()
    return _hubs[loop]


def now() -> float:
    """Seconds since the epoch, in milliseconds' steps: what a frame says is what its row holds."""
    return round(time.time(), 3)

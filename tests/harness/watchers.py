"""Watchers that never give up, many on one event loop, and what must hold of what they have seen."""

import asyncio
import contextlib
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import orjson
import psycopg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from tests.harness import faulty_serve
from tests.harness.chat import Fold, Frame
from tests.harness.cluster import Cluster
from tests.harness.crashable import Crashable
from tests.harness.wait import until

RATE = 10  # tokens a second of one stream
MANY_STREAMS = "MANY_STREAMS" in os.environ  # fifty streams instead of some take half a minute of computing
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # before a watcher comes back
RESEND = 3.0  # seconds after which a message that was not seen in the log is sent again, with its id


class Watcher:
    """One browser tab: it folds what it hears, and comes back with its cursor when its socket dies."""

    def __init__(self, url: str, session: str, patience: float) -> None:
        self.url, self.session, self.patience = url, session, patience
        self.fold = Fold()
        self.errors: list[Frame] = []  # of the socket
        self.close_codes: list[int] = []
        self.connections = 0
        self.failure: BaseException | None = None
        self.absences: list[float] = []  # seconds without a socket
        self.longest_pause = 0.0  # between two frames of one run
        self.last_frame_at = 0.0
        self.ages: list[float] = []  # of each frame, when it was heard
        self._socket: ClientConnection | None = None
        self._lost_at = 0.0
        self._progress = asyncio.Event()

    async def watch(self) -> None:
        """Follow the session until cancelled."""
        pause = SHORTEST_PAUSE
        while True:
            before = self.connections
            try:
                await self._follow()
            except (OSError, TimeoutError, EOFError, InvalidHandshake, WebSocketException):
                pass
            except AssertionError as failure:
                self.failure = failure
                return
            pause = SHORTEST_PAUSE if self.connections > before else min(pause * 2, LONGEST_PAUSE)
            await asyncio.sleep(random.uniform(pause / 2, pause))

    async def _follow(self) -> None:
        address = f"{self.url}/ws/chat/{self.session}?after={self.fold.cursor}"
        options = {
            "max_size": None,
            "open_timeout": 20,
            "ping_interval": 4,
            "ping_timeout": self.patience,
            "close_timeout": 1,
        }
        async with connect(address, compression=None, proxy=None, **options) as socket:
            try:
                async for text in socket:
                    self._take(orjson.loads(text), socket)
            finally:
                if self._socket is not None:
                    self._lost_at = time.monotonic()
                    self.close_codes.append(socket.close_code or 1006)
                self._socket = None

    def _take(self, frame: Frame, socket: ClientConnection) -> None:
        if frame["type"] == "connected":
            self._socket = socket
            self.connections += 1
            if self._lost_at:
                self.absences.append(time.monotonic() - self._lost_at)
        elif "seq" in frame:
            if self.fold.take(frame):
                self._time(frame)
        else:
            assert frame["type"] != "reset", frame
            if frame["type"] == "error":
                self.errors.append(frame)
        self._progress.set()

    def _time(self, frame: Frame) -> None:
        now = time.monotonic()
        if frame["type"] != "reasoning_start" and self.last_frame_at:
            self.longest_pause = max(self.longest_pause, now - self.last_frame_at)
        self.last_frame_at = now
        self.ages.append(_age(frame))

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    async def send(self, kind: str, **payload: Any) -> None:
        """Send once; nothing where there is no socket just now."""
        with contextlib.suppress(OSError, WebSocketException):
            if self._socket is not None:
                await self._socket.send(orjson.dumps({"type": kind, "payload": payload}).decode())

    async def say(self, message: str, message_id: str, **payload: Any) -> str:
        """Say something, again with the same id until it is in the log; the run's id."""
        sent_at = -RESEND
        while (run := self.run_of(message_id)) is None:
            if self._socket is not None and time.monotonic() > sent_at + RESEND:
                sent_at = time.monotonic()
                await self.send("chat", message=message, message_id=message_id, **payload)
            await self._news()
        return run

    def run_of(self, message_id: str) -> str | None:
        starts = self.fold.of_type("reasoning_start")
        return next((frame["run_id"] for frame in starts if frame["data"]["message_id"] == message_id), None)

    def ends(self) -> set[str]:
        return {frame["run_id"] for frame in self.fold.of_type("reasoning_complete")}

    async def end_of(self, run_id: str) -> None:
        while run_id not in self.ends():
            await self._news()

    async def _news(self) -> None:
        if self.failure:
            raise self.failure
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self._progress.wait()
        self._progress.clear()


def _age(frame: Frame) -> float:
    """Seconds since the model said it, for a stamp; else since it was written."""
    stamp = frame["data"].get("content", "").split(" ")[0] if frame["type"] == "reasoning_delta" else ""
    written_at = int(stamp) / 1e9 if stamp.isdigit() and len(stamp) == 19 else frame["timestamp"]
    return time.time() - written_at


class Crowd:
    """Watchers on an event loop in a thread of its own, so that a test can kill things meanwhile."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Let it go on in the background."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, coroutine: Coroutine[Any, Any, Any], timeout: float = 60) -> Any:
        return self.begin(coroutine).result(timeout)

    def watch(self, url: str, session: str, patience: float = 60) -> Watcher:
        """A watcher that follows from now on until the end; after `patience` without an answer, it comes anew."""
        watcher = self.call(self._new(url.replace("http", "ws", 1), session, patience))
        self.watchers.append(watcher)
        return watcher

    async def _new(self, url: str, session: str, patience: float) -> Watcher:
        watcher = Watcher(url, session, patience)
        self._tasks = [*getattr(self, "_tasks", ()), asyncio.create_task(watcher.watch())]
        return watcher

    def wait_for_all(self, true: Callable[[Watcher], Any], timeout: float = 180) -> None:
        """Wait until it is true of every watcher; fails at once where one has seen a gap."""
        deadline = time.monotonic() + timeout
        while not all(true(watcher) for watcher in self.watchers):
            self.check_failures()
            if time.monotonic() > deadline:
                late = [(w.session, w.fold.cursor, w.is_connected) for w in self.watchers if not true(w)]
                raise AssertionError(f"{len(late)} of {len(self.watchers)} watchers wait in vain: {late[:5]}")
            time.sleep(0.05)

    def check_failures(self) -> None:
        for watcher in self.watchers:
            if watcher.failure:
                raise watcher.failure


class FaultyCluster(Cluster):
    """A cluster whose tools' effects can be counted (see `faulty_serve`), and whose data can be read."""

    def __init__(self, folder: Path | None = None, **options: Any) -> None:
        super().__init__(folder, **options)
        self._connection: psycopg.Connection | None = None
        self.effects_file, self.crash_file = self.folder / "effects", self.folder / "crash"
        self.environment |= {
            faulty_serve.CRASH: str(self.crash_file),
            faulty_serve.EFFECTS: str(self.effects_file),
        }

    def wait_for_crash(self) -> str:
        """Let nobody else crash at that point; returns the name of the process that did."""
        until(self.ended)
        self.crash_file.unlink()
        [name] = self.ended()
        return name

    def manage(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.harness.faulty_serve", *arguments]

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of the database, which is asked directly."""
        if self._connection is not None:
            try:
                return self._connection.execute(statement, parameters).fetchall()
            except psycopg.OperationalError:  # it has restarted since
                self._connection.close()
        self._connection = self.postgres.connect()  # kept: a new one for each look costs PostgreSQL a process
        return self._connection.execute(statement, parameters).fetchall()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        super().close()

    def workers_of(self, agent: str) -> dict[str, str]:
        """Run → worker, of an agent's running runs whose worker is alive."""
        statement = (
            "SELECT id::text, worker FROM agents_app_run"
            " WHERE agent_name = %s AND status = 'running' AND lease_until > now()"
        )
        return dict(self.query(statement, agent))

    def errors(self) -> Iterator[str]:
        """What should not be in the logs of web processes and workers."""
        for process in [*self.webs, *self.workers]:
            for line in process.log.read_text(errors="replace").splitlines():
                if " ERROR " in line or line.startswith("Traceback"):
                    yield f"{process.name}: {line}"

    get = Crashable.get
    runs = Crashable.runs
    steps = Crashable.steps
    log_of = Crashable.log_of
    effects = Crashable.effects
    crash_at = Crashable.crash_at


def unfinished(cluster: FaultyCluster) -> list[tuple[str, ...]]:
    """The id and the status of each run that has not ended."""
    statement = "SELECT id::text, status FROM agents_app_run WHERE status IN ('queued', 'running', 'waiting')"
    return cluster.query(statement)


def check_sessions(cluster: FaultyCluster, watchers: Iterable[Watcher]) -> None:
    """Every run has one beginning and one end, and all who watch have read the same, without a gap."""
    by_session: dict[str, list[Watcher]] = {}
    for watcher in watchers:
        by_session.setdefault(watcher.session, []).append(watcher)
    for session, group in by_session.items():
        check_session(cluster, session, group)


def check_session(cluster: FaultyCluster, session: str, watchers: list[Watcher]) -> Fold:
    log = cluster.log_of(session)
    for watcher in watchers:
        until(lambda w=watcher: w.failure or w.fold.cursor >= log.cursor)
        if watcher.failure:
            raise watcher.failure
        assert watcher.fold.steps == log.steps, f"{session}: a watcher and the log differ"
        _check_once(watcher.fold, "reasoning_start", "reasoning_complete")
    _check_once(log, "reasoning_start", "reasoning_complete")
    _check_steps_once(log)
    runs = cluster.runs(session)
    for run in runs:
        kinds = [frame["type"] for frame in log.frames if frame["run_id"] == run["id"]]
        assert kinds, f"run {run} has no events"
        assert (kinds[0], kinds[-1]) == ("reasoning_start", "reasoning_complete"), (run, kinds)
        assert run["status"] in ("completed", "cancelled", "failed"), run
    completed = {run["id"] for run in runs if run["status"] == "completed"}
    open_steps = [step for (run, _), step in log.steps.items() if run in completed and not step["done"]]
    assert open_steps == []
    return log


def _check_once(fold: Fold, *kinds: str) -> None:
    for kind in kinds:
        runs = [frame["run_id"] for frame in fold.of_type(kind)]
        assert len(runs) == len(set(runs)), f"{kind} was told twice of a run"


def _check_steps_once(fold: Fold) -> None:
    steps = [(frame["run_id"], frame["data"]["step"]) for frame in fold.of_type("reasoning_step")]
    assert len(steps) == len(set(steps)), "a step is in the log twice"


def begin(crowd: Crowd, cluster: FaultyCluster, agent: str, count: int) -> list[str]:
    """`count` more sessions with a watcher each, and a streaming run in each; returns the runs' ids."""
    first = len(crowd.watchers)
    watchers = [crowd.watch(cluster.url, f"{agent}-{number}") for number in range(first, first + count)]
    runs = [crowd.begin(watcher.say("go", "one", agent_name=agent)) for watcher in watchers]
    ids = [run.result(120) for run in runs]
    crowd.wait_for_all(lambda watcher: watcher.fold.of_type("reasoning_delta"))
    return ids


def begin_on_both(crowd: Crowd, cluster: FaultyCluster, agent: str, count: int) -> list[str]:
    """The same until both workers have some: who takes a run is a matter of chance."""
    ids = begin(crowd, cluster, agent, count)
    while len(set(cluster.workers_of(agent).values())) < 2:
        assert len(ids) < count + 20, "one worker takes nothing"
        ids += begin(crowd, cluster, agent, 2)
    return ids


def end_all(crowd: Crowd, cluster: FaultyCluster, timeout: float = 180) -> None:
    crowd.wait_for_all(lambda watcher: watcher.ends(), timeout)
    check_sessions(cluster, crowd.watchers)


def streams(few: int, many: int) -> int:
    """How many streams a test has: `MANY_STREAMS=1 pytest tests/cluster` is for who changes the takeover."""
    return many if MANY_STREAMS else few


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

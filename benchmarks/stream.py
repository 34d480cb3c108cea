"""How fast and how safely tokens travel from a model to a socket, in the embedded mode.

    python -m benchmarks.stream [streams|rate|watchers|idle|replay|stalled|all] [--streams 40] [--seconds 10]

A fake model server stamps each token with the time at which it writes it; a client in another process compares that
with the time at which it reads it. Model, server and client share this machine's cores.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import orjson
import psutil

from benchmarks.socket_client import SocketClient
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.product import Product

RATE = 50


class Watcher:
    """Follows one session as PROTOCOL says, and notes the age of each token."""

    def __init__(self, ages: list[float] | None = None) -> None:
        self.ages = ages
        self.cursor = 0
        self.frames = self.deltas = self.gaps = 0
        self.text = ""
        self.done = asyncio.Event()
        self.final = ""
        self.first_at = 0
        self.socket: SocketClient | None = None

    async def open(self, url: str) -> "Watcher":
        self.socket = await SocketClient.connect(url, self.on_text)
        return self

    def on_text(self, payload: bytes, now: int) -> None:
        frame = orjson.loads(payload)
        if (seq := frame.get("seq")) is None:
            return
        self.frames += 1
        if seq <= self.cursor:
            return
        if frame.get("first", seq) > self.cursor + 1 and self.cursor:
            self.gaps += 1
        self.cursor = seq
        kind, data = frame["type"], frame["data"]
        if kind == "reasoning_delta":
            content = data["content"]
            self.text = self.text[: data["offset"]] + content
            if self.ages is not None:
                for stamp in content.split():
                    if len(stamp) == 19:
                        self.deltas += 1
                        self.ages.append((now - int(stamp)) / 1e6)
            self.first_at = self.first_at or now
        elif kind == "reasoning_step":
            self.final = self.text = data["content"]
        elif kind == "reasoning_complete":
            self.done.set()


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    at = lambda share: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)  # noqa: E731
    return {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": round(ordered[-1], 1)}


def in_process(work: Any, *arguments: Any) -> Any:
    """Run a coroutine function in a process of its own: the client must not share the benchmark's interpreter."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_run, (work, arguments))


def _run(work: Any, arguments: tuple[Any, ...]) -> Any:
    return asyncio.run(work(*arguments))


class Bench:
    """A product and a model for one measurement."""

    def __init__(self, model: FakeModel, product: Product) -> None:
        self.model, self.product = model, product

    def stamping_agent(self, name: str, rate: float, count: int) -> None:
        self.model.script(name, [[{"stamps": {"rate": rate, "count": count}}]])
        self.product.add_agent(name, self.model.base_url)

    def cpu(self) -> dict[str, float]:
        return {
            "server": sum(psutil.Process(self.product.pid).cpu_times()[:2]),
            "model": sum(psutil.Process(self.model.process.pid).cpu_times()[:2]),
        }

    def memory(self) -> float:
        """The server's resident memory in MB."""
        return psutil.Process(self.product.pid).memory_info().rss / 1e6


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeModel() as model,
        Product(Path(folder) / "var", WORKER_CONCURRENCY="400", LOG_LEVEL="WARNING") as product,
    ):
        yield Bench(model, product)
        log = product.log.read_text()
        if "Traceback" in log or "ERROR" in log:
            print("SERVER LOG:", log[-2000:])


async def _watch_streams(urls: list[str], agent: str, seconds: float) -> dict[str, Any]:
    ages: list[float] = []
    watchers = [await Watcher(ages).open(url) for url in urls]
    started = time.time_ns()
    for watcher in watchers:
        watcher.socket.send("chat", message="go", agent_name=agent)  # type: ignore[union-attr]
    async with asyncio.timeout(seconds * 3 + 30):
        await asyncio.gather(*(w.done.wait() for w in watchers))
    took = (time.time_ns() - started) / 1e9
    return {
        "deltas": len(ages),
        "deltas_s": round(len(ages) / took),
        "frames": sum(w.frames for w in watchers),
        "age_ms": percentiles(ages),
        "first_ms": percentiles([(w.first_at - started) / 1e6 for w in watchers]),
        "gaps": sum(w.gaps for w in watchers),
        "client_cpu": round(time.process_time(), 2),
    }


@contextlib.contextmanager
def profiled(pid: int, seconds: float) -> Iterator[None]:
    """Have py-spy (to be installed by hand) sample the server, where PROFILE names a file for its stacks."""
    if not (target := os.environ.get("PROFILE")) or seconds <= 3:
        yield
        return
    command = [
        "py-spy",
        "record",
        "-p",
        str(pid),
        "-d",
        str(int(seconds)),
        "-r",
        "250",
        "-t",
        "-f",
        "raw",
        "-o",
        target,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield


def streams(b: Bench, count: int, seconds: float) -> dict[str, Any]:
    """`count` sessions at 50 tokens/s each, one watcher each."""
    agent = f"stamp-{count}-{random.randrange(10**6)}"
    b.stamping_agent(agent, RATE, round(RATE * seconds))
    warm = [b.product.socket_url(f"w-{agent}")]
    in_process(_watch_streams, warm, agent, seconds) if seconds <= 3 else None
    before = b.cpu()
    urls = [b.product.socket_url(f"{agent}-{i}", after=0) for i in range(count)]
    with profiled(b.product.pid, seconds):
        result = in_process(_watch_streams, urls, agent, seconds)
    after = b.cpu()
    for name in before:
        result[f"{name}_us_per_delta"] = round((after[name] - before[name]) * 1e6 / max(result["deltas"], 1))
    result["expected"] = round(RATE * seconds) * count
    result["memory_mb"] = round(b.memory())
    return {"streams": count, **result}


async def _bare(base_url: str, agent: str, count: int, seconds: float) -> dict[str, Any]:
    client = openai.AsyncOpenAI(base_url=base_url, api_key="x", http_client=openai.DefaultAioHttpClient())
    ages: list[float] = []

    async def read() -> None:
        stream = await client.chat.completions.create(
            model=agent, messages=[{"role": "user", "content": "go"}], stream=True
        )
        async for chunk in stream:
            now = time.time_ns()
            if chunk.choices and (stamp := (chunk.choices[0].delta.content or "").strip()):
                ages.append((now - int(stamp)) / 1e6)

    started = time.monotonic()
    await asyncio.gather(*(read() for _ in range(count)))
    took = time.monotonic() - started
    return {"streams": count, "deltas_s": round(len(ages) / took), "age_ms": percentiles(ages)}


def bare_client(b: Bench, count: int, seconds: float) -> dict[str, Any]:
    """The same load read straight from the model by the official client: no server, nothing kept."""
    agent = f"bare-{count}"
    b.model.script(agent, [[{"stamps": {"rate": RATE, "count": round(RATE * seconds)}}]])
    return in_process(_bare, b.model.base_url, agent, count, seconds)


async def _watch_crowd(urls: list[str], agent: str, seconds: float) -> dict[str, Any]:
    ages: list[float] = []
    watchers = [await Watcher(ages).open(url) for url in urls]
    watchers[0].socket.send("chat", message="go", agent_name=agent)  # type: ignore[union-attr]
    async with asyncio.timeout(seconds * 3 + 30):
        await asyncio.gather(*(w.done.wait() for w in watchers))
    texts = {w.final for w in watchers}
    frames = sum(w.frames for w in watchers)
    return {
        "watchers": len(urls),
        "age_ms": percentiles(ages),
        "frames_s": round(frames / seconds),
        "same_text": len(texts) == 1,
        "gaps": sum(w.gaps for w in watchers),
    }


def crowd(b: Bench, count: int, seconds: float) -> dict[str, Any]:
    """One session at 50 tokens/s with `count` watchers."""
    agent = f"crowd-{count}"
    b.stamping_agent(agent, RATE, round(RATE * seconds))
    return in_process(_watch_crowd, [b.product.socket_url("crowd", after=0)] * count, agent, seconds)


async def _hold(url: str, count: int, ready: Any, release: Any) -> None:
    watchers = [await Watcher().open(f"{url}-{i}") for i in range(count)]
    ready.set()
    while not release.is_set():
        await asyncio.sleep(0.05)
    for w in watchers:
        w.socket.close()  # type: ignore[union-attr]


def idle(b: Bench, count: int) -> dict[str, Any]:
    """The server's memory with `count` sockets that do nothing."""
    before = b.memory()
    context = multiprocessing.get_context("spawn")
    manager = context.Manager()
    ready, release = manager.Event(), manager.Event()
    url = b.product.socket_url("idle").rstrip("?")
    process = context.Process(target=_run, args=(_hold, (url, count, ready, release)))
    process.start()
    ready.wait(60)
    cpu = b.cpu()["server"]
    time.sleep(5)
    used = b.cpu()["server"] - cpu
    result = {
        "sockets": count,
        "memory_mb": round(b.memory()),
        "before_mb": round(before),
        "cpu_share": round(used / 5, 3),
    }
    release.set()
    process.join()
    return result


async def _replay(url: str) -> dict[str, Any]:
    watcher = Watcher()
    started = time.monotonic()
    await watcher.open(url)
    async with asyncio.timeout(60):
        await watcher.done.wait()
    took = time.monotonic() - started
    return {
        "events": watcher.cursor,
        "frames": watcher.frames,
        "seconds": round(took, 3),
        "gaps": watcher.gaps,
    }


def replay(b: Bench, events: int) -> dict[str, Any]:
    """A session whose log has `events` rows, read from the beginning."""
    import sqlite3

    agent, session = "replayed", "replayed"
    b.model.script(agent, [[{"text": "ok"}]])
    b.product.add_agent(agent, b.model.base_url)
    in_process(_watch_streams, [b.product.socket_url(session, after=0)], agent, 1)
    database = sqlite3.connect(b.product.var_dir / "db.sqlite3", timeout=20)
    with database:  # what many long runs with tools would have left
        statement = "SELECT id, last_seq FROM agents_app_session WHERE name = ?"
        pk, head = database.execute(statement, [session]).fetchone()
        row = database.execute(
            "SELECT run_id, created_at FROM agents_app_event WHERE session_id = ? LIMIT 1", [pk]
        ).fetchone()
        data = orjson.dumps(
            {"step": 0, "type": "thought", "content": "x" * 200, "iteration": 1, "timestamp": 1.0}
        ).decode()
        database.executemany(
            "INSERT INTO agents_app_event (session_id, seq, first, run_id, type, data, created_at)"
            " VALUES (?, ?, ?, ?, 'reasoning_step', ?, ?)",
            ((pk, head + i, head + i, row[0], data, row[1]) for i in range(1, events)),
        )
        end = orjson.dumps({"status": "completed", "iterations": 1, "usage": {}, "duration_ms": 1}).decode()
        database.execute(
            "INSERT INTO agents_app_event (session_id, seq, first, run_id, type, data, created_at)"
            " VALUES (?, ?, ?, ?, 'reasoning_complete', ?, ?)",
            (pk, head + events, head + events, row[0], end, row[1]),
        )
        database.execute("UPDATE agents_app_session SET last_seq = ? WHERE id = ?", [head + events, pk])
    database.close()
    return in_process(_replay_all, b.product.socket_url(session, after=head))


async def _replay_all(url: str) -> dict[str, Any]:
    return await _replay(url)


async def _stalled(crowd_urls: list[str], agent: str, stalled_url: str, seconds: float, stall: float) -> dict[str, Any]:
    ages: list[float] = []
    others = [await Watcher(ages).open(url) for url in crowd_urls]
    witness, sleeper = await Watcher([]).open(stalled_url), await Watcher([]).open(stalled_url)
    for w in [*others, witness]:
        w.socket.send("chat", message="go", agent_name=agent)  # type: ignore[union-attr]
    await asyncio.sleep(1)
    sleeper.socket.pause()  # type: ignore[union-attr]
    await asyncio.sleep(stall)
    calm = percentiles(ages)
    sleeper.socket.resume()  # type: ignore[union-attr]
    async with asyncio.timeout(seconds * 2 + 60):
        await asyncio.gather(*(w.done.wait() for w in [*others, witness, sleeper]))
    return {
        "others_age_ms": calm,
        "identical": sleeper.final == witness.final and len(sleeper.final) > 0,
        "gaps": sleeper.gaps,
        "frames_of_the_sleeper": sleeper.frames,
        "frames_of_its_witness": witness.frames,
    }


def stalled(b: Bench, count: int, stall: float) -> dict[str, Any]:
    """A watcher that stops reading for `stall` seconds while `count` streams run."""
    seconds = stall + 5
    agent = "stalled"
    b.stamping_agent(agent, RATE, round(RATE * seconds))
    memory = [b.memory()]
    urls = [b.product.socket_url(f"st-{i}", after=0) for i in range(count)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        job = pool.apply_async(
            _run, (_stalled, (urls, agent, b.product.socket_url("st-sleeper", after=0), seconds, stall))
        )
        while not job.ready():
            memory.append(b.memory())
            job.wait(2)
        result = job.get()
    return result | {"memory_mb": [round(m) for m in (memory[0], memory[len(memory) // 3], max(memory), memory[-1])]}


def show(title: str, result: dict[str, Any]) -> None:
    print(f"{title:10}", orjson.dumps(result).decode(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="all")
    parser.add_argument("--streams", type=int, nargs="*", default=None)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--stall", type=float, default=60)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    expected = ["streams", "rate", "watchers", "idle", "replay", "stalled"] if options.what == "all" else [options.what]
    for what in expected:
        with bench() as b:
            streams(b, 2, 1)  # warm
            if what == "streams":
                for count in options.streams or [40]:
                    show("streams", streams(b, count, options.seconds))
            elif what == "rate":
                for count in options.streams or [160, 200, 240]:
                    show("streams", streams(b, count, options.seconds))
                    show("openai", bare_client(b, count, options.seconds))
            elif what == "watchers":
                for count in options.streams or [200]:
                    show("watchers", crowd(b, count, options.seconds))
            elif what == "idle":
                show("idle", idle(b, 1000))
            elif what == "replay":
                show("replay", replay(b, 10_000))
            elif what == "stalled":
                show("stalled", stalled(b, 40, options.stall))


if __name__ == "__main__":
    main()

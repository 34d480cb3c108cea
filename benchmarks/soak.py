"""Connections and runs that come and go for a long time: what grows?

    python -m benchmarks.soak [--minutes 20] [--clients 100]

Every client opens a session (a new one, or one that others watch), says something, follows for a while, leaves in
the middle, comes back with its cursor to any instance, and starts over. Each line is a sample; the last table is the
slope of each figure, by least squares over the samples after the warm-up.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import time
from typing import Any

import psutil

from benchmarks.cluster import ClusterBench, bench
from benchmarks.stream import Watcher

AGENT = "soaking"
INTERVAL = 15.0
WARM_UP = 180.0


async def _client(bases: list[str], number: int, until: float, names: dict[str, int]) -> None:
    dice = random.Random(number)
    visit = 0
    while time.time() < until:
        visit += 1
        is_shared = dice.random() < 0.3
        session = f"soak-shared-{dice.randrange(10)}" if is_shared else f"soak-{number}-{visit}"
        watcher = await Watcher().open(f"{dice.choice(bases)}/ws/chat/{session}?after=0")
        # Rejected where somebody else's run is in progress: else a shared session's queue grows without end.
        if_busy = "reject" if is_shared else "enqueue"
        watcher.socket.send("chat", message="go", agent_name=AGENT, if_busy=if_busy)  # type: ignore[union-attr]
        for _ in range(dice.randrange(1, 4)):
            await asyncio.sleep(dice.uniform(0.2, 3))
            watcher.socket.close()  # type: ignore[union-attr]
            await watcher.open(f"{dice.choice(bases)}/ws/chat/{session}?after={watcher.cursor}")
            names["connections"] += 1
        if dice.random() < 0.9:
            try:
                await asyncio.wait_for(watcher.done.wait(), 10 if is_shared else 60)
                names["finished"] += 1
            except TimeoutError:  # shared: rejected, and the other run had ended before this watcher came
                names["rejected" if is_shared else "late"] += 1
        watcher.socket.close()  # type: ignore[union-attr]
        names["gaps"] += watcher.gaps


async def _clients(bases: list[str], count: int, seconds: float) -> dict[str, int]:
    names = {"connections": 0, "finished": 0, "rejected": 0, "late": 0, "gaps": 0}
    until = time.time() + seconds
    await asyncio.gather(*(_client(bases, number, until, names) for number in range(count)))
    return names


def _run_clients(bases: list[str], count: int, seconds: float) -> dict[str, int]:
    return asyncio.run(_clients(bases, count, seconds))


def sample(b: ClusterBench) -> dict[str, float]:
    """Memory in MB, descriptors and threads of each process; connections of Redis and PostgreSQL."""
    figures: dict[str, float] = {}
    for name in [*(web.name for web in b.product.webs), *(worker.name for worker in b.product.workers)]:
        process = psutil.Process(b.product.pid(name))
        figures[f"{name} MB"] = round(process.memory_info().rss / 1e6, 1)
        figures[f"{name} fds"] = process.num_fds()
        figures[f"{name} threads"] = process.num_threads()
    figures["redis MB"] = round(psutil.Process(b.product.pid("redis")).memory_info().rss / 1e6, 1)
    with b.product.redis.client() as redis:
        figures["redis connections"] = redis.info("clients")["connected_clients"]
    with b.product.postgres.connect() as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        figures["postgres connections"] = row.fetchone()[0]  # type: ignore[index]
    return figures


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares, a minute."""
    count = len(points)
    x, y = (sum(values) / count for values in zip(*points, strict=True))
    spread = sum((at - x) ** 2 for at, _ in points)
    return 60 * sum((at - x) * (value - y) for at, value in points) / spread if spread else 0.0


def soak(b: ClusterBench, minutes: float, clients: int) -> None:
    b.model.script(AGENT, [[{"tool_call": {"name": "calculate", "arguments": {"expression": "6 * 7"}}}],
                           [{"stamps": {"rate": 20, "count": 40}}]])  # fmt: skip
    b.product.add_agent(AGENT, b.model.base_url, builtin_tools=["calculate"])
    bases = [url.replace("http", "ws", 1) for url in (b.product.url, *b.product.web_urls)]
    samples: list[tuple[float, dict[str, float]]] = []
    began = time.time()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        running = pool.apply_async(_run_clients, (bases, clients, minutes * 60))
        while not running.ready():
            samples.append((time.time() - began, sample(b)))
            print(f"{samples[-1][0]:5.0f} s", samples[-1][1], flush=True)
            running.wait(INTERVAL)
        print(running.get())
    tell(samples, "after the warm-up", min(WARM_UP, minutes * 20))
    tell(samples, "second half", minutes * 30)


def tell(samples: list[tuple[float, dict[str, float]]], what: str, since: float) -> None:
    kept = [(at, figures) for at, figures in samples if at >= since] or samples
    print(f"\n{what} ({len(kept)} samples): least, most, last, slope a minute")
    for name in kept[0][1]:
        values: list[tuple[float, Any]] = [(at, figures[name]) for at, figures in kept]
        only = [value for _, value in values]
        print(f"{name:22} {min(only):8.1f} {max(only):8.1f} {only[-1]:8.1f} {slope(values):+8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--clients", type=int, default=100)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with bench(2, 2) as b:
        soak(b, options.minutes, options.clients)


if __name__ == "__main__":
    main()

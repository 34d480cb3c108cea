"""The same through many processes: worker → PostgreSQL and Redis → web → nginx.

python -m benchmarks.cluster [streams|watchers|cancel|start|connect] [--streams 40] [--seconds 10]
    [--rate 50] [--web 2] [--workers 2]
"""

import argparse
import asyncio
import contextlib
import datetime
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import psutil

from benchmarks.socket_client import SocketClient
from benchmarks.stream import (
    RATE,
    Bench,
    Watcher,
    _watch_crowd,
    _watch_streams,
    in_process,
    percentiles,
    profiled,
    show,
)
from tests.harness.cluster import Cluster
from tests.harness.fakes.fake_model_process import FakeModel


class ClusterBench(Bench):
    """A cluster and a model for one measurement."""

    product: Cluster  # type: ignore[assignment]

    def cpu(self) -> dict[str, float]:
        """CPU seconds by kind of process, with their children."""
        used: dict[str, float] = {"model": sum(psutil.Process(self.model.process.pid).cpu_times()[:2])}
        for name in self.product.processes:
            kind = name.partition("-")[0]
            process = psutil.Process(self.product.pid(name))
            for one in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    used[kind] = used.get(kind, 0.0) + sum(one.cpu_times()[:2])
        return used


@contextlib.contextmanager
def bench(web: int, workers: int) -> Iterator[ClusterBench]:
    with (
        FakeModel() as model,
        Cluster(web=web, workers=workers, WORKER_CONCURRENCY="300", LOG_LEVEL="WARNING") as cluster,
    ):
        yield ClusterBench(model, cluster)  # type: ignore[arg-type]
        for name in cluster.processes:
            log = cluster.log(name).read_text(errors="replace")
            if "Traceback" in log or "ERROR" in log:
                print(f"LOG OF {name}:", log[-2000:])


def streams(b: ClusterBench, count: int, seconds: float, rate: float = RATE) -> dict[str, Any]:
    """`count` sessions at `rate` tokens/s through nginx, one watcher each."""
    agent = f"stamp-{count}-{random.randrange(10**6)}"
    b.stamping_agent(agent, rate, round(rate * seconds))
    before = b.cpu()
    urls = [b.product.socket_url(f"{agent}-{i}", after=0) for i in range(count)]
    result = in_process(_watch_streams, urls, agent, seconds)
    after = b.cpu()
    used = {k: round((after[k] - before.get(k, 0)) * 1e6 / max(result["deltas"], 1)) for k in after}
    return {"streams": count, **result, "expected": round(rate * seconds) * count, "us_per_delta": used}


def crowd(b: ClusterBench, count: int, seconds: float) -> dict[str, Any]:
    """One session with `count` watchers, over all instances."""
    agent = f"crowd-{count}"
    b.stamping_agent(agent, RATE, round(RATE * seconds))
    return in_process(_watch_crowd, [b.product.socket_url("crowd", after=0)] * count, agent, seconds)


async def _start_times(urls: list[str], agent: str) -> list[tuple[float, float]]:
    """When each message was sent (seconds since the epoch), and milliseconds to the first token, one at a time."""
    times = []
    for url in urls:
        watcher = await Watcher([]).open(url)
        began = time.time_ns()
        watcher.socket.send("chat", message="go", agent_name=agent)  # type: ignore[union-attr]
        await watcher.done.wait()
        times.append((began / 1e9, (watcher.first_at - began) / 1e6))
        watcher.socket.close()  # type: ignore[union-attr]
    return times


def start(b: ClusterBench, count: int) -> dict[str, Any]:
    """From a message to its model request, as the model server sees it; and to the first token at the client."""
    agent = "starting"
    b.model.script(agent, [[{"stamps": {"rate": 200, "count": 3}}]])
    b.product.add_agent(agent, b.model.base_url)
    urls = [b.product.socket_url(f"start-{i}", after=0) for i in range(count)]
    in_process(_start_times, urls[:5], agent)
    times = in_process(_start_times, urls[5:], agent)
    requests = [request["started"] for request in b.model.requests(agent)][5:]
    since_sent = [(at - sent) * 1e3 for at, (sent, _) in zip(requests, times, strict=True)]
    runs = b.product.request("GET", f"/v1/runs?agent={agent}&limit=200&ordering=created_at")[1]["data"]
    created = [datetime.datetime.fromisoformat(run["created_at"]).timestamp() for run in runs[5:]]
    since_created = [(at - since) * 1e3 for at, since in zip(requests, created, strict=True)]
    return {
        "runs": len(times),
        "sent_to_model_request_ms": percentiles(since_sent),
        "created_to_model_request_ms": percentiles(since_created),
        "first_token_ms": percentiles([first for _, first in times]),
    }


async def _cancel_times(pairs: list[tuple[str, str]], agent: str) -> list[float]:
    times = []
    for one, other in pairs:
        starter, stopper = await Watcher([]).open(one), await Watcher([]).open(other)
        starter.socket.send("chat", message="go", agent_name=agent)  # type: ignore[union-attr]
        while not starter.first_at:
            await asyncio.sleep(0.005)
        began = time.time_ns()
        stopper.socket.send("interrupt")  # type: ignore[union-attr]
        await starter.done.wait()
        times.append((time.time_ns() - began) / 1e6)
        for watcher in (starter, stopper):
            watcher.socket.close()  # type: ignore[union-attr]
    return times


def cancel(b: ClusterBench, count: int) -> dict[str, Any]:
    """From an interrupt sent to one instance to the run's last frame from the other."""
    agent = "cancelled"
    b.model.script(agent, [[{"stamps": {"rate": 20, "count": 10_000}}]])
    b.product.add_agent(agent, b.model.base_url)
    webs = b.product.web_urls
    pairs = [
        tuple(f"{url.replace('http', 'ws', 1)}/ws/chat/cancel-{i}?after=0" for url in (webs[0], webs[-1]))
        for i in range(count)
    ]
    times = in_process(_cancel_times, pairs, agent)
    return {
        "cancels": count,
        "ms": percentiles(times),
        "aborted_at_model": len(b.model.wait_for_abort(agent, count)),
    }


async def _connect_times(urls: list[str]) -> list[float]:
    """Milliseconds from the first of many simultaneous connections to each one's `connected`."""
    began = time.time_ns()
    times: list[float] = []

    async def connect(url: str) -> SocketClient:
        connected = asyncio.Event()
        socket = await SocketClient.connect(url, lambda _payload, _now: connected.set())
        await connected.wait()
        times.append((time.time_ns() - began) / 1e6)
        return socket

    for socket in await asyncio.gather(*map(connect, urls)):
        socket.close()
    return times


def connects(b: ClusterBench, count: int) -> dict[str, Any]:
    """`count` sockets that come at once, as after a restart, to one instance."""
    base = b.product.web_urls[0].replace("http", "ws", 1)
    urls = [f"{base}/ws/chat/connect-{i}?after=0" for i in range(count)]
    in_process(_connect_times, urls)
    before = b.cpu()
    with profiled(b.product.pid("web-1"), 4):
        times = in_process(_connect_times, urls)
    after = b.cpu()
    used = {kind: round((after[kind] - before[kind]) * 1e3 / count, 2) for kind in after}
    return {"sockets": count, "connected_ms": percentiles(times), "ms_per_connect": used}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="all")
    parser.add_argument("--streams", type=int, nargs="*", default=None)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=RATE, help="tokens a second of each stream")
    parser.add_argument("--web", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with bench(options.web, options.workers) as b:
        streams(b, 4, 1)  # warm
        if options.what in ("streams", "all"):
            for count in options.streams or [40, 120, 160]:
                show("streams", streams(b, count, options.seconds, options.rate))
        if options.what in ("watchers", "all"):
            for count in options.streams or [1000]:
                show("watchers", crowd(b, count, options.seconds))
        if options.what in ("start", "all"):
            show("start", start(b, 55))
        if options.what in ("cancel", "all"):
            show("cancel", cancel(b, 50))
        if options.what in ("connect", "all"):
            show("connect", connects(b, 100))


if __name__ == "__main__":
    main()

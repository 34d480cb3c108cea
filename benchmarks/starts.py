"""What it costs to begin a run: sessions × runs of two-token answers through the socket.

    python -m benchmarks.starts [--cluster] [--at-once 1 40 160] [--runs 400]

For each number of sessions: each sends its next message as soon as its last answer has ended, except that all send
their first at once. CPU is that of the server's processes, without the model and the client, which share the cores.
PROFILE=FILE has py-spy (to be installed by hand) write the stacks of the server, or of PROFILED in a cluster.
"""

import argparse
import asyncio
import contextlib
import os
import random
import time
from typing import Any

from benchmarks import cluster, stream
from benchmarks.stream import Bench, Watcher, in_process, percentiles, profiled, show

_TOKENS = 2
_WARM = 40  # runs


class _Starter(Watcher):
    """Notes when a run's first token or, if the step ended first, its first step arrives."""

    def on_text(self, payload: bytes, now: int) -> None:
        super().on_text(payload, now)
        if not self.first_at and b'"type":"reasoning_step"' in payload:
            self.first_at = now


async def _run_all(urls: list[str], agent: str, runs: int) -> dict[str, Any]:
    """Have each session do `runs` runs. Return the milliseconds to each run's first token: first ones, later ones."""
    firsts: list[float] = []
    later: list[float] = []

    async def do(url: str) -> None:
        watcher = await _Starter([]).open(url)
        for number in range(runs):
            if number == 0:
                opened.discard(url)
                if not opened:
                    everybody.set()
                await everybody.wait()
            watcher.done.clear()
            watcher.first_at = 0
            began = time.time_ns()
            watcher.socket.send("chat", message="go", agent_name=agent)  # type: ignore[union-attr]
            await watcher.done.wait()
            (later if number else firsts).append((watcher.first_at - began) / 1e6)
        watcher.socket.close()  # type: ignore[union-attr]

    opened, everybody = set(urls), asyncio.Event()
    began = time.perf_counter()
    async with asyncio.timeout(300):
        await asyncio.gather(*map(do, urls))
    return {"seconds": time.perf_counter() - began, "firsts": firsts, "later": later}


def starts(b: Bench, at_once: int, runs: int) -> dict[str, Any]:
    """`at_once` sessions, `runs` runs in all."""
    agent = f"start-{at_once}-{random.randrange(10**6)}"
    b.model.script(agent, [[{"stamps": {"rate": 2000, "count": _TOKENS}}]])
    b.product.add_agent(agent, b.model.base_url)
    each = max(runs // at_once, 1)
    before = b.cpu()
    urls = [b.product.socket_url(f"{agent}-{i}", after=0) for i in range(at_once)]
    with profiled(_pid(b), 10 if runs > _WARM else 0):
        result = in_process(_run_all, urls, agent, each)
    after = b.cpu()
    used = {kind: (after[kind] - before.get(kind, 0)) * 1e3 / (at_once * each) for kind in after if kind != "model"}
    return {
        "sessions": at_once,
        "runs": at_once * each,
        "cpu_ms_per_run": round(sum(used.values()), 2),
        **({kind: round(ms, 2) for kind, ms in used.items()} if len(used) > 1 else {}),
        "runs_s": round(at_once * each / result["seconds"]),
        "first_at_once_ms": percentiles(result["firsts"]),
        "first_later_ms": percentiles(result["later"]),
        **(_by_length(result["later"]) if at_once == 1 else {}),
    }


def _by_length(later: list[float]) -> dict[str, Any]:
    """Return the first tenth and the last tenth of one session's runs."""
    tenth = max(len(later) // 10, 1)
    return {"short_session_ms": percentiles(later[:tenth]), "long_session_ms": percentiles(later[-tenth:])}


def _pid(b: Bench) -> int:
    if isinstance(b, cluster.ClusterBench):
        return b.product.pid(os.environ.get("PROFILED", "worker-1"))
    return b.product.pid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", action="store_true", help="two web and two worker processes, instead of one")
    parser.add_argument("--at-once", type=int, nargs="*", default=[1, 40, 160])
    parser.add_argument("--runs", type=int, default=400, help="in all, at each number of sessions")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with contextlib.ExitStack() as stack:
        b = stack.enter_context(cluster.bench(2, 2) if options.cluster else stream.bench())
        starts(b, 4, _WARM)
        for count in options.at_once:
            show("starts", starts(b, count, options.runs))


if __name__ == "__main__":
    main()

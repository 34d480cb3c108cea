"""Calls to MCP servers that are killed again and again: does each end in time, and what grows?

    python -m benchmarks.mcp [--calls 1000] [--at-once 20] [--kill-every 3]

For each transport a real server, asked by many callers at once and killed every few seconds: each call ends in a result
or in an error within its time-out. Then the figures of this process, before and after.
"""

import argparse
import asyncio
import contextlib
import gc
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from agents_app.engine import mcp
from agents_app.engine.spec import ServerSpec
from agents_app.engine.toolset import ToolError, ToolsUnavailable
from tests.harness.fakes.mcp_servers import Everything, everything

TIMEOUT = 10.0
SLOW = "trigger-long-running-operation"
ME = psutil.Process()


@dataclass
class Tally:
    """What became of the calls of one transport; times in seconds."""

    ended: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    slowest: float = 0.0
    figures: list[dict[str, float]] = field(default_factory=list)


def figures() -> dict[str, float]:
    gc.collect()
    return {
        "fds": ME.num_fds(),
        "children": len(ME.children(recursive=True)),
        "tasks": len(asyncio.all_tasks()),
        "threads": ME.num_threads(),
        "MB": round(ME.memory_info().rss / 1e6, 1),
    }


async def _call(spec: ServerSpec, dice: random.Random, tally: Tally) -> None:
    slow = dice.random() < 0.5
    name, arguments = (SLOW, {"duration": dice.uniform(0.05, 1), "steps": 5}) if slow else ("echo", {"message": "hi"})
    began = time.monotonic()
    try:
        result = await mcp.call_tool(spec, name, arguments, lambda _: None)
        kind = "ok" if not result.is_error else "unknown" if "unknown" in result.content else "not made"
    except ToolsUnavailable:
        kind = "no server"
    except ToolError:
        kind = "too slow"
    tally.ended[kind] += 1
    tally.slowest = max(tally.slowest, time.monotonic() - began)
    if kind in ("no server", "not made"):
        await asyncio.sleep(1)  # as a model would take its time


async def soak(spec: ServerSpec, kill: Callable[[], Awaitable[None]], options: argparse.Namespace) -> Tally:
    """Make the calls, and kill meanwhile."""
    tally, dice = Tally(), random.Random(1)
    await mcp.call_tool(spec, "echo", {"message": "warm"}, lambda _: None)
    await mcp.close_servers()
    tally.figures.append(figures())
    left = iter(range(options.calls))

    async def caller() -> None:
        for _ in left:
            await _call(spec, dice, tally)

    async def killer() -> None:
        while True:
            await asyncio.sleep(dice.uniform(0.5, 1.5) * options.kill_every)
            await kill()
            tally.kills += 1

    killing = asyncio.create_task(killer())
    await asyncio.gather(*(caller() for _ in range(options.at_once)))
    killing.cancel()
    await asyncio.wait([killing])
    await mcp.close_servers()
    tally.figures.append(figures())
    return tally


async def over_stdio(options: argparse.Namespace) -> Tally:
    with tempfile.TemporaryDirectory() as folder:

        async def kill() -> None:
            for child in ME.children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "stdio" in child.cmdline():
                        child.kill()

        return await soak(everything(Path(folder), timeout=TIMEOUT), kill, options)


async def over_http(kind: str, options: argparse.Namespace) -> Tally:
    with Everything(kind) as server:

        async def kill() -> None:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)

        return await soak(server.spec(timeout=TIMEOUT), kill, options)


def show(name: str, tally: Tally) -> None:
    before, after = tally.figures
    ended = ", ".join(f"{count} {kind}" for kind, count in tally.ended.most_common())
    print(f"{name:16} {sum(tally.ended.values()):5} calls, {tally.kills} kills: {ended}; slowest {tally.slowest:.1f} s")
    print(" " * 16, " · ".join(f"{what} {before[what]:g} → {after[what]:g}" for what in before))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--kill-every", type=float, default=3.0, help="seconds, on average")
    options = parser.parse_args()
    show("stdio", await over_stdio(options))
    show("sse", await over_http("sse", options))
    show("streamable HTTP", await over_http("streamableHttp", options))


if __name__ == "__main__":
    asyncio.run(main())

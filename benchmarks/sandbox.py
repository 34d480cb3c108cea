"""How long a command takes to start and end, in a sandbox and without: `python -m benchmarks.sandbox [STARTS]`."""

import asyncio
import statistics
import sys
import tempfile
import time

from agents_app.engine import sandbox
from agents_app.engine.spec import ProcessLimits, SandboxSpec

_KINDS = {"none": None, "strict": SandboxSpec(network=False), "network": SandboxSpec(network=True)}


async def _start(spec: SandboxSpec | None, folder: str) -> float:
    began = time.perf_counter()
    process = await sandbox.start(sandbox.Command("x", "echo", ("x",), (), folder, ProcessLimits(), spec))
    await process.stdout.read()
    took = time.perf_counter() - began
    await process.end()
    return took * 1000


async def main() -> None:
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as folder:
        for spec in _KINDS.values():
            await _start(spec, folder)  # the first one tries whether there are sandboxes
        taken: dict[str, list[float]] = {name: [] for name in _KINDS}
        for _ in range(starts):
            for name, spec in _KINDS.items():
                taken[name].append(await _start(spec, folder))
    for name, times in taken.items():
        print(f"{name}: p50 {statistics.median(times):.1f} ms of {starts} starts")


if __name__ == "__main__":
    asyncio.run(main())

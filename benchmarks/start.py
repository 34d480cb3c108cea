"""CPU and wall seconds of a start: `python -m benchmarks.start [--starts 5]`

Starts `manage.py serve` on an existing database, again and again, and reads what the process has used at the moment
at which it says that it is ready. `settled`: the same after the server has been idle for two seconds, so that work
that was merely put off is seen as well.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from tests.harness.product import Product


def start_once(product: Product) -> tuple[float, float, float]:
    """Return CPU seconds until ready, wall seconds until ready, CPU seconds two seconds later."""
    began = time.monotonic()
    product.start()
    wall = time.monotonic() - began
    process = psutil.Process(product.pid)
    ready = _cpu(process)
    time.sleep(2)
    settled = _cpu(process)
    product.stop()
    return ready, wall, settled


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        product = Product(Path(folder) / "var")
        start_once(product)  # makes the database, the administrator and the agents; and compiles
        results = [start_once(product) for _ in range(options.starts)]
    for name, values in zip(
        ("CPU s until ready", "wall s until ready", "CPU s, settled"), zip(*results, strict=True), strict=True
    ):
        print(f"{name:20} median {statistics.median(values):.2f}  {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()

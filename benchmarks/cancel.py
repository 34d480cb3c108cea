"""Stop in the middle of a tool of 60 seconds: how long until the run has ended, and until the tool's process has?

python -m benchmarks.cancel [--tries 50]
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.stream import percentiles
from tests.harness.chat import Chat
from tests.harness.fakes import own_mcp_server
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.product import Product
from tests.harness.wait import until

SLOW = {"steps": 600, "seconds": 60, "stubborn": True}


def prepare(product: Product, model: FakeModel, effects: Path) -> None:
    """An agent with a server of MCP whose tool goes on whatever it is told."""
    command = {"command": sys.executable, "args": [str(Path(own_mcp_server.__file__).resolve())]}
    server = {"name": "own", "transport": "stdio", "env": {"EFFECTS": str(effects)}, **command}
    assert product.request("POST", "/v1/mcp-servers", server)[0] == 201
    model.script("slow", [[{"tool_call": {"name": "own__slow", "arguments": SLOW}}]])
    product.add_agent("slow", model.base_url, mcp_servers=["own"])


def one(product: Product, number: int, effects: Path) -> tuple[float, float]:
    """Milliseconds from Stop to the run's last frame, and to the end of the server's process."""
    existing = effects.read_text().count("began") if effects.exists() else 0
    chat = Chat(product.socket_url(f"cancel-{number}", after=0))
    chat.say("go", agent_name="slow")
    until(lambda: effects.exists() and effects.read_text().count("began") > existing)
    child = next(
        process
        for process in psutil.Process(product.pid).children(recursive=True)
        if process.environ().get("EFFECTS") == str(effects)
    )
    began = time.monotonic()
    chat.send("interrupt")
    chat.until("reasoning_complete")
    moment = time.monotonic()
    psutil.wait_procs([child], 10)
    ended = time.monotonic()
    chat.close()
    return (moment - began) * 1000, (ended - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=50)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as folder, FakeModel() as model, Product(Path(folder) / "var") as product:
        effects = Path(folder) / "effects"
        prepare(product, model, effects)
        times = [one(product, number, effects) for number in range(options.tries)]
    print("run ended, ms:    ", percentiles([moment for moment, _ in times]))
    print("process ended, ms:", percentiles([ended for _, ended in times]))


if __name__ == "__main__":
    main()

"""A session of many steps."""

import urllib.request

from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.product import Product

AGENT = "long-session"
CALLS = 250  # of each of ten turns: 5,000 steps


def items(calls: int = CALLS) -> int:
    """How many items the page shows: of each turn a thought, and calls with their results; and the answer."""
    return 10 * (1 + 2 * calls) + 1


def make_long_session(product: Product, model: FakeModel, calls_per_turn: int = CALLS) -> str:
    """The session's id, once it is there."""
    expressions = [f"{n} + 1" for n in range(calls_per_turn)]
    calls = [{"tool_call": {"name": "calculate", "arguments": {"expression": each}}} for each in expressions]
    turns = [[{"text": f"Turn {turn}: let me calculate."}, *calls] for turn in range(10)]
    model.script(AGENT, [*turns, [{"text": "All **calculated**."}]])
    fields = {"max_iterations": 100, "timeout": 3600, "compaction": "off", "builtin_tools": ["calculate"]}
    product.add_agent(AGENT, model.base_url, **fields)
    _, run = product.request("POST", f"/v1/agents/{AGENT}/runs", {"message": "Calculate a lot."})
    address = f"{product.url}/v1/runs/{run['run_id']}/events"
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Accept": "text/event-stream"})) as events:
        ending = next(line for line in events if b'"type":"reasoning_complete"' in line)
    assert b'"status":"completed"' in ending
    return run["session_id"]

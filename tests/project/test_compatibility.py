"""A client that was written for the original system works unchanged."""

import json
import subprocess
import sys

from tests.harness.paths import ROOT

CLIENT = ROOT / "tests/harness/clients/original_client.py"


def play(product, session, *scene, **query):
    """What the client has made of a scene: frames that it sends, and the types of those that it waits for."""
    lines = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in scene)
    command = [sys.executable, "-I", str(CLIENT), product.socket_url(session, **query)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def chat(message, **more):
    return {"type": "chat", "payload": {"message": message, **more}}


def test_a_whole_conversation(product, agent, model, name):
    who = agent(
        [{"reasoning": "Numbers. "}, {"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}}}],
        [{"text": "It is 42."}],
        builtin_tools=["calculate"],
    )
    names = play(
        product, name,
        {"type": "ping", "timestamp": 1.5, "of": "the client's own"}, "pong",
        chat("6 times 7?", client_version="0.9"), "reasoning_complete",
        chat("Once more?", enable_reasoning=False), "reasoning_complete",
        agent_name=who,
    )  # fmt: skip
    assert names["connected"] == name
    assert [kind for kind, _ in names["steps"]] == ["thought", "tool_use", "tool_result", "final_answer"]
    assert [names["steps"][index][1] for index in (0, 2, 3)] == ["Numbers. ", "42", "It is 42."]
    assert (names["responses"], names["ends"], names["pongs"]) == (["It is 42."], ["completed", "completed"], 1)
    assert (names["errors"], names["open_run"]) == ([], None)


def test_an_interrupt_bad_input_and_a_failure(product, agent, model, name):
    who = agent([{"text": "Let me "}, {"wait": f"{name}-never"}])
    stopped = play(
        product, name,
        "{this is no JSON", "error", {"type": "dance"}, "error", chat("hi", agent_name=f"{name}-nobody"), "error",
        chat("go", agent_name=who), "reasoning_delta", {"type": "interrupt", "payload": {}}, "reasoning_complete",
    )  # fmt: skip
    assert stopped["errors"] == ["invalid_json", "invalid_message", "agent_not_found"]
    assert (stopped["ends"], len(stopped["interrupted"])) == (["cancelled"], 1)
    model.script(who, [[{"status": 400}]])
    failed = play(product, f"{name}-2", chat("go", agent_name=who), "reasoning_complete")
    assert (failed["ends"], len(failed["errors"])) == (["failed"], 1)
    assert failed["steps"][-1][0] == "error"

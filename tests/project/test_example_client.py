"""The client in docs/examples does what it says, against a running server."""

import importlib.util
import socket
import subprocess
import sys
import uuid

import pytest

from tests.harness.paths import ROOT

PATH = ROOT / "docs/examples/client.py"
LONG = "A long answer, in many pieces. " * 12
SUM = {"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}}}


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("example_client", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cut(session) -> int:
    """The network is gone; 0 where it was already."""
    try:
        session.socket.socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        return 0
    return 1


def test_as_a_command_it_prints_the_answer(product, agent):
    who = agent([{"reasoning": "Hm."}, SUM], [{"text": "It is "}, {"text": "42."}], builtin_tools=["calculate"])
    command = [sys.executable, str(PATH), "--url", product.url, "--agent", who, "What is 6 times 7?"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "It is 42.\n"


def test_a_socket_that_is_cut_again_and_again_costs_nothing(example, product, agent, model, name):
    who = agent([{"text": LONG, "delay": 0.005}, {"wait": name}, {"text": "The end."}])
    session = example.Session(example.Client(product.url), name, agent=who)
    data, cuts = "", 0
    for piece in session.answer("Hello"):
        data += piece
        if len(data) > 100 * cuts:
            cuts += cut(session)
        if data == LONG:
            cuts += cut(session)
            model.release(name)
    assert data == LONG + "The end."
    assert cuts >= 2
    assert len(model.requests(who)) == 1
    later = example.Session(session.client, name, after=session.cursor - 1)
    assert next(later.frames())["seq"] == session.cursor


def test_a_message_into_a_cut_socket_is_one_run(example, product, agent, model, name):
    who = agent([{"text": "ok"}])
    session = example.Session(example.Client(product.url), name, agent=who)
    session.say("One")
    frames = session.frames()
    requests = []
    for frame in frames:
        if frame["type"] == "reasoning_start":
            requests.append(frame["data"]["message"])
        if frame["type"] == "reasoning_complete":
            if len(requests) == 2:
                break
            assert cut(session)
            session.say("Two")
    assert requests == ["One", "Two"]
    assert [request["messages"][-1]["content"] for request in model.requests(who)] == requests


def test_whoever_may_not_come_in_is_told_why(example, people, name):
    session = example.Session(example.Client(people["ann"].product.url, "wrong"), name)
    with pytest.raises(PermissionError, match="4401"):
        next(session.frames())


def test_a_run_that_fails_says_why(example, product, agent, name):
    who = agent([{"status": 400, "body": {"error": {"message": "I do not like it."}}}])
    session = example.Session(example.Client(product.url), name, agent=who)
    with pytest.raises(RuntimeError, match="I do not like it"):
        list(session.answer("Hello"))
    nobody = example.Session(session.client, name, agent="nobody")
    with pytest.raises(RuntimeError, match="nobody"):
        list(nobody.answer("Hello"))


def test_rest(example, product, agent):
    who = agent([{"text": "ok"}])
    client = example.Client(product.url)
    client.patch(f"/v1/agents/{who}", {"description": "It says ok."})
    assert client.get(f"/v1/agents/{who}")["description"] == "It says ok."
    started = {client.post(f"/v1/agents/{who}/runs", {"message": str(uuid.uuid4())})["run_id"] for _ in range(3)}
    assert {run["id"] for run in client.items("/v1/runs", agent=who, limit=1)} == started
    with pytest.raises(example.ApiError) as caught:
        client.post("/v1/agents", {"name": "a b"})
    assert (caught.value.status, caught.value.param) == (400, "name")

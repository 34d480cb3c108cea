"""Budgets: what runs may cost is reserved before each turn and counted after it, once, whatever dies."""

import concurrent.futures
import os

import pytest

from tests.harness.crashable import call, tools
from tests.harness.wait import until

pytestmark = pytest.mark.slow

TOKENS_OF_A_TURN = 1000
ROOM = 5
PARALLEL = int(os.environ.get("PARALLEL_RUNS", "12"))  # of which ROOM have room


@pytest.fixture
def product(running):
    return running


@pytest.fixture
def budget(product, name):
    """Make a budget of the test's agent."""

    def make(**fields):
        body = {"name": name, "scope": "agent", "agent": name, "period": "day", **fields}
        status, answer = product.request("POST", "/v1/budgets", body)
        assert status == 201, answer

    return make


def get(product, path):
    status, answer = product.request("GET", path)
    assert status == 200, answer
    return answer


def usage(tokens):
    return {"usage": {"prompt_tokens": 10, "completion_tokens": tokens - 10}}


def turn(*actions, tokens=TOKENS_OF_A_TURN):
    return [*(actions or [{"text": "Done."}]), usage(tokens)]


def start(product, name):
    return product.request("POST", f"/v1/agents/{name}/runs", {"message": "hi"})


def ended(product, accepted):
    path = f"/v1/runs/{accepted[1]['run_id']}"
    return until(lambda: (run := get(product, path))["finished_at"] and run)


def test_a_turn_is_counted_and_a_budget_without_room_refuses_the_next_run(agent, product, budget, name):
    agent(turn())
    budget(tokens=TOKENS_OF_A_TURN)
    assert ended(product, start(product, name))["status"] == "completed"
    counted = get(product, f"/v1/budgets/{name}")
    assert (counted["spent_tokens"], counted["left_tokens"], counted["spent"]) == (TOKENS_OF_A_TURN, 0, 0)
    status, refused = start(product, name)
    assert (status, refused["error"]["code"]) == (429, "budget_reached")
    assert name in refused["error"]["message"]


def test_a_run_ends_at_the_turn_that_has_no_room(agent, product, budget, name):
    agent(turn(call("calculate", "1")), turn(), **tools("calculate"))
    budget(amount=0.05, unknown_price=100)  # dollars per million tokens: a turn is 10 cents
    run = ended(product, start(product, name))
    assert run["status"] == "failed"
    assert f"The budget '{name}' of this day is used up" in run["error"]
    assert get(product, f"/v1/budgets/{name}")["spent"] == 0.1
    assert [step["type"] for step in get(product, f"/v1/runs/{run['id']}/steps?ordering=index")["data"]] == [
        "tool_use",
        "tool_result",
        "error",
    ]


@pytest.mark.parametrize("moment", ["speaks", "between"])
def test_kill_9_loses_and_doubles_nothing(agent, product, model, budget, name, moment):
    gate = {"only_first": 1, "do": [{"wait": f"{name}-never"}]}
    first = turn(call("calculate", "1")) if moment == "between" else turn({"text": "half "}, gate, {"text": "of it"})
    agent(first, turn({"text": "half "}, gate, {"text": "of it"}), **tools("calculate"))
    budget(tokens=100_000)
    accepted = start(product, name)
    turns = 2 if moment == "between" else 1
    model.wait_for_request(name, turns)
    product.kill()
    product.start()
    run = ended(product, accepted)
    assert run["status"] == "completed"
    counted = get(product, f"/v1/budgets/{name}")
    assert counted["spent_tokens"] == turns * TOKENS_OF_A_TURN
    assert counted["left_tokens"] == 100_000 - counted["spent_tokens"], "nothing is reserved any more"


def test_parallel_runs_stay_in_the_budget_under_kill_9(agent, product, model, budget, name):
    agent(turn({"wait": name}, {"text": "Done."}), parameters={"max_tokens": TOKENS_OF_A_TURN})
    budget(tokens=ROOM * TOKENS_OF_A_TURN)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: start(product, name), range(PARALLEL)))
    model.wait_for_request(name, ROOM)
    accepted = [answer for answer in answers if answer[0] == 202]
    assert {answer[1]["error"]["code"] for answer in answers if answer[0] != 202} <= {"budget_reached"}
    product.kill()
    product.start()
    model.wait_for_request(name, 2 * ROOM)
    model.release(name)
    runs = [ended(product, each) for each in accepted]
    outcomes = sorted((run["status"], "is used up" in (run["error"] or "")) for run in runs)
    assert outcomes == [("completed", False)] * ROOM + [("failed", True)] * (len(accepted) - ROOM)
    counted = get(product, f"/v1/budgets/{name}")
    assert (counted["spent_tokens"], counted["left_tokens"]) == (ROOM * TOKENS_OF_A_TURN, 0)


@pytest.mark.parametrize(("response", "end"), [("Go on", "completed"), ("Stop", "failed")])
def test_a_person_is_asked_whether_a_run_may_go_on(agent, open_chat, product, budget, name, response, end):
    agent(turn(call("calculate", "1")), turn(), **tools("calculate"))
    budget(tokens=TOKENS_OF_A_TURN // 2, action="ask")
    chat = open_chat(name, after=0)
    chat.say("hi", agent_name=name)
    asked = chat.until("action_required")["data"]
    assert (asked["kind"], asked["tool_name"], asked["response_schema"]["enum"]) == (
        "question", "budget", ["Go on", "Stop"],
    )  # fmt: skip
    until(lambda: get(product, f"/v1/sessions/{name}/runs")["data"][0]["status"] == "waiting")
    chat.send("answer", action_id=asked["action_id"], outcome="answered", response=response)
    assert chat.until("reasoning_complete")["data"]["status"] == end
    assert [frame["data"]["code"] for frame in chat.fold.of_type("error")] == ["budget_reached"] * (end == "failed")
    assert get(product, f"/v1/budgets/{name}")["spent_tokens"] == TOKENS_OF_A_TURN * (2 if end == "completed" else 1)


def test_a_budget_that_only_warns(agent, open_chat, product, budget, name):
    agent(turn())
    budget(tokens=0, action="warn")
    chat = open_chat(name, after=0)
    chat.say("hi", agent_name=name)
    assert chat.until("warning")["data"]["code"] == "budget_reached"
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"

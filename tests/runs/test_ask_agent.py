"""`ask_agent`: an agent asks another one, whose steps can be followed like any."""

import pytest

from tests.harness.crashable import back_again, check_whole
from tests.harness.fakes.fake_model_process import tool_results
from tests.harness.wait import until

CRASHABLE = {"WORKER_CONCURRENCY": "2"}


@pytest.fixture
def product(running):
    """A server with little room, that can be killed."""
    return running


def asking(agent, message="What is it?", **more):
    return {"tool_call": {"name": "ask_agent", "arguments": {"agent": agent, "message": message}, **more}}


@pytest.fixture
def helper(product, model, name):
    """Make another agent; returns its name."""

    def make(*turns, suffix="helper", **fields) -> str:
        model.script(f"{name}-{suffix}", list(turns))
        product.add_agent(f"{name}-{suffix}", model.base_url, **fields)
        return f"{name}-{suffix}"

    return make


ASKS = {"builtin_tools": ["ask_agent"]}


def children(product, run_id):
    return [run for run in product.get("/v1/runs?trigger=agent&limit=200")["data"] if run_id in run["session_id"]]


def test_another_agent_answers_in_a_run_that_can_be_followed(agent, helper, open_chat, product, model, name):
    other = helper([{"reasoning": "Let me see. "}, {"text": "It is 42."}])
    who = agent([asking(other)], [{"text": "They say it is 42."}], **ASKS)
    chat = open_chat(name, after=0)
    assert chat.ask("hello", agent_name=who)["data"]["status"] == "completed"
    result = next(f["data"] for f in chat.fold.of_type("reasoning_step") if f["data"]["type"] == "tool_result")
    assert (result["content"], result["is_error"]) == ("It is 42.", False)
    child = open_chat(result["child_session_id"], after=0)
    end = child.until("reasoning_complete")
    assert end["run_id"] == result["child_run_id"]
    assert child.fold.story() == [("thought", "Let me see. "), ("final_answer", "It is 42.")]
    assert model.requests(other)[0]["messages"][-1]["content"] == "What is it?"
    run = product.get(f"/v1/runs/{result['child_run_id']}")
    assert (run["trigger"], run["agent_name"]) == ("agent", other)


def test_more_asking_at_once_than_there_is_room_for(agent, helper, open_chat, name):
    """Whoever waits for an answer has a place; the answer must not need another one."""
    third = helper([{"text": "deepest"}], suffix="third")
    second = helper([asking(third)], [{"text": "deeper"}], suffix="second", **ASKS)
    who = agent([asking(second, str(n), id=f"c{n}") for n in range(3)], [{"text": "done"}], **ASKS)
    chats = [open_chat(f"{name}-{n}", after=0) for n in range(3)]
    for chat in chats:
        chat.say("go", agent_name=who)
    for chat in chats:
        assert chat.until("reasoning_complete")["data"]["status"] == "completed"
        results = [f["data"] for f in chat.fold.of_type("reasoning_step") if f["data"]["type"] == "tool_result"]
        assert [step["content"] for step in results] == ["deeper"] * 3


def test_who_waits_for_the_answer_cannot_be_asked(agent, helper, open_chat, model, name):
    other = helper([asking(name)], [{"text": "I cannot."}], **ASKS)
    who = agent([asking(other)], [{"text": "Oh."}], **ASKS)
    chat = open_chat(name, after=0)
    assert chat.ask("hello", agent_name=who)["data"]["status"] == "completed"
    assert "waiting for this answer itself" in tool_results(model.requests(other)[1])[0]


def test_how_deep_it_may_go_is_limited(agent, helper, open_chat, model, name):
    deeper = helper([{"text": "never asked"}], suffix="6")
    for number in range(5, 0, -1):
        deeper = helper([asking(deeper)], [{"text": f"answer {number}"}], suffix=str(number), **ASKS)
    who = agent([asking(deeper)], [{"text": "done"}], **ASKS)
    chat = open_chat(name, after=0)
    assert chat.ask("hello", agent_name=who)["data"]["status"] == "completed"
    assert model.requests(f"{name}-6") == model.requests(f"{name}-5") == []
    assert "limit" in tool_results(model.requests(f"{name}-4")[1])[0]


def test_an_unknown_agent_is_an_error_that_lists_the_agents(agent, helper, open_chat, model, name):
    other = helper([{"text": "x"}])
    who = agent([asking(f"{name}-nobody")], [{"text": "Oh."}], **ASKS)
    chat = open_chat(name, after=0)
    assert chat.ask("hello", agent_name=who)["data"]["status"] == "completed"
    requests = tool_results(model.requests(name)[1])[0]
    assert f"{name}-nobody" in requests and other in requests


def test_an_agent_that_fails_is_an_error_for_who_asked(agent, helper, open_chat, model, name):
    other = helper([{"status": 400}])
    who = agent([asking(other)], [{"text": "Oh."}], **ASKS)
    chat = open_chat(name, after=0)
    assert chat.ask("hello", agent_name=who)["data"]["status"] == "completed"
    result = next(f["data"] for f in chat.fold.of_type("reasoning_step") if f["data"]["type"] == "tool_result")
    assert result["is_error"] and "did not answer" in result["content"]


def test_stop_reaches_the_agent_that_was_asked(agent, helper, open_chat, product, model, name):
    other = helper([{"text": "I begin "}, {"wait": f"{name}-never"}])
    who = agent([asking(other)], [{"text": "done"}], **ASKS)
    chat = open_chat(name, after=0)
    chat.say("hello", agent_name=who)
    model.wait_for_request(other)
    chat.send("interrupt")
    assert chat.until("reasoning_complete")["data"]["status"] == "cancelled"
    model.wait_for_abort(other)
    child = children(product, chat.fold.frames[0]["run_id"])[0]
    until(lambda: product.get(f"/v1/runs/{child['id']}")["status"] == "cancelled")


def test_killed_while_another_agent_answers(agent, helper, open_chat, product, model, name):
    other = helper([{"text": "I begin "}, {"only_first": 1, "do": [{"wait": f"{name}-never"}]}, {"text": "and end."}])
    who = agent([asking(other)], [{"text": "done"}], **ASKS)
    chat = open_chat(name, after=0)
    chat.say("hello", agent_name=who)
    model.wait_for_request(other)
    product.kill()
    product.start()
    chat = back_again(chat, product, name)
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert tool_results(model.requests(name)[-1]) == ["I begin and end."]
    run = chat.fold.frames[0]["run_id"]
    assert len(children(product, run)) == 1, "asked again, it is the same run"
    check_whole(product, name, chat)

"""Messages for a run that works: it takes them between its model turns, or they are runs of their own."""

import pytest

from tests.harness.chat import Chat
from tests.harness.crashable import back_again, check_whole

CALL = {"tool_call": {"name": "calculate", "arguments": {"expression": "1 + 1"}}}
CALLS = [CALL, {"finish": "tool_calls"}, {"end": True}]  # the model's script begins anew with a user's message


def users(request: dict) -> list[str]:
    return [each["content"] for each in request["messages"] if each["role"] == "user"]


@pytest.fixture
def works(agent, open_chat, name):
    """A function that returns a chat whose run is in its first model turn, until the gate of the test's name opens."""

    def start(*actions: dict):
        first = {"only_first": 1, "do": [{"text": "Let me see. "}, {"wait": name}, *actions]}
        who = agent([first, {"text": "Done."}], [{"text": "Done."}], builtin_tools=["calculate"])
        chat = open_chat(name, after=0)
        chat.say("Go", agent_name=who)
        chat.until_text("Let me see.")
        return chat

    return start


@pytest.mark.both
def test_a_run_takes_what_is_said_while_it_works(works, product, model, name):
    chat = works(*CALLS)
    for number in (1, 2):
        chat.say(f"And {number}", if_busy="steer", message_id=f"m{number}")
        queued = chat.until("steer_queued")
        assert queued["data"] == {"message_id": f"m{number}", "message": f"And {number}"}
    model.release(name)
    end = chat.until("reasoning_complete")
    assert {frame["run_id"] for frame in chat.fold.frames} == {end["run_id"]}
    steered = [(frame["data"]["message_id"], frame["data"]["iteration"]) for frame in chat.fold.of_type("steered")]
    assert steered == [("m1", 2), ("m2", 2)]
    assert users(model.requests(name)[-1]) == ["Go", "And 1\n\nAnd 2"]
    assert model.requests(name)[-1]["messages"][-1]["role"] == "user"
    chat.say("And 1", if_busy="steer", message_id="m1")  # a client that does not know that it arrived
    chat.ask("Next", message_id="m3")
    assert users(model.requests(name)[-1]) == ["Go", "And 1\n\nAnd 2", "Next"]
    runs = product.request("GET", f"/v1/sessions/{name}/runs")[1]["data"]
    assert [run["prompt"] for run in runs] == ["Go", "Next"]


@pytest.mark.both
def test_what_a_run_does_not_take_is_the_next_run(works, model, name):
    chat = works({"text": "That is all."}, {"finish": "stop"}, {"end": True})
    chat.say("Too late", if_busy="steer", message_id="m1")
    chat.until("steer_queued")
    model.release(name)
    first = chat.until("reasoning_complete")
    begun = chat.until("reasoning_start")
    assert begun["run_id"] != first["run_id"]
    assert begun["data"]["message_id"] == "m1"
    chat.until("reasoning_complete")
    assert users(model.requests(name)[-1]) == ["Go", "Too late"]
    assert not chat.fold.of_type("steered")


def test_a_run_takes_no_more_than_ten_messages(works, product, model, name):
    chat = works(*CALLS)
    for number in range(10):
        body = {"message": str(number), "session_id": name, "if_busy": "steer"}
        status, answer = product.request("POST", f"/v1/agents/{name}/runs", body)
        assert status == 202
        assert answer["run_id"] == chat.fold.frames[0]["run_id"], "the run that takes it"
    chat.say("11", if_busy="steer", message_id="m11")
    refused = chat.until("error")["data"]
    assert (refused["code"], refused["message_id"]) == ("session_busy", "m11")
    model.release(name)
    chat.until("reasoning_complete")
    assert users(model.requests(name)[-1]) == ["Go", "\n\n".join(map(str, range(10)))]


@pytest.mark.slow
def test_a_steered_message_survives_kill_9_before_and_after_it_is_taken(running, model, name):
    gate = {"wait": f"{name}-never"}
    first = [
        {"only_first": 1, "do": [{"text": "Let me see. "}, gate]},
        {"only_first": 2, "do": CALLS},
        {"only_first": 3, "do": [{"text": "Then. "}, gate]},
    ]
    model.script(name, [[*first, {"text": "Done."}], [{"text": "Done."}]])
    running.add_agent(name, model.base_url, builtin_tools=["calculate"])
    chat = Chat(running.socket_url(name, after=0))
    chat.say("Go", agent_name=name)
    chat.until_text("Let me see.")
    chat.say("Also", if_busy="steer", message_id="m1")
    chat.until("steer_queued")
    for text in ("Then.", "Done."):
        running.kill()
        running.start()
        chat = back_again(chat, running, name)
        chat.until_text(text)
    chat.until("reasoning_complete")
    assert len(check_whole(running, name, chat).of_type("steered")) == 1
    assert [users(request) for request in model.requests(name)] == [["Go"], ["Go"], ["Go", "Also"], ["Go", "Also"]]

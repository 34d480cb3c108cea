"""`ask_user`: the agent asks, a person answers, from any door, once; nobody works meanwhile."""

import pytest

from tests.harness.crashable import check_whole
from tests.harness.fakes.fake_model_process import tool_results
from tests.harness.wait import until

pytestmark = pytest.mark.slow


@pytest.fixture
def product(running):
    return running


def question(call_id="call_1", **arguments):
    return {"tool_call": {"name": "ask_user", "arguments": {"question": "Which color?", **arguments}, "id": call_id}}


@pytest.fixture
def ask_question(agent, open_chat, product, name):
    """A chat whose run waits for an answer, with the frame that asks."""

    def begin(*questions, **fields):
        who = agent([*(questions or [question()])], [{"text": "Thanks."}], builtin_tools=["ask_user"], **fields)
        chat = open_chat(name, after=0)
        chat.say("paint it", agent_name=who)
        frame = chat.until("action_required")
        until(lambda: product.runs(name)[0]["status"] == "waiting")
        return chat, frame["data"]

    return begin


def answers(model, name) -> list[str]:
    return tool_results(model.requests(name)[-1])


@pytest.mark.parametrize("door", ["socket", "REST"])
def test_a_person_answers(ask_question, product, model, name, door):
    chat, action = ask_question(question(options=["red", "blue"]))
    assert (action["kind"], action["message"], action["tool_name"]) == ("question", "Which color?", "ask_user")
    assert action["response_schema"] == {"type": "string", "enum": ["red", "blue"]}
    if door == "socket":
        chat.send("answer", action_id=action["action_id"], outcome="answered", response="blue")
    else:
        (listed,) = [
            each
            for each in product.request("GET", "/v1/actions?status=open")[1]["data"]
            if each["id"] == action["action_id"]
        ]
        assert (listed["kind"], listed["message"], listed["session_id"]) == ("question", "Which color?", name)
        path = f"/v1/actions/{action['action_id']}/answer"
        status, answered = product.request("POST", path, {"outcome": "answered", "response": "blue"})
        assert (status, answered["status"], answered["response"]) == (202, "answered", "blue")
        assert product.request("POST", path, {"outcome": "declined"})[0] == 409
    resolved = chat.until("action_resolved")["data"]
    assert (resolved["outcome"], resolved["response"], resolved["by"]) == ("answered", "blue", "admin")
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert answers(model, name) == ["blue"]
    check_whole(product, name, chat)


def test_an_answer_days_later_after_kill_9(ask_question, product, model, name):
    _, action = ask_question()
    product.kill()
    product.start()
    path = f"/v1/actions/{action['action_id']}"
    assert product.request("GET", path)[1]["status"] == "open"
    sent = {"outcome": "answered", "response": "A warm grey."}
    assert product.request("POST", f"{path}/answer", sent)[0] == 202
    until(lambda: product.runs(name)[0]["status"] == "completed")
    assert answers(model, name) == ["A warm grey."]


def test_declined_and_unanswered_questions_go_on_without_an_answer(ask_question, model, name):
    chat, action = ask_question()
    chat.send("answer", action_id=action["action_id"], outcome="declined", reason="Ask me on Monday.")
    assert chat.until("action_resolved")["data"]["outcome"] == "declined"
    chat.until("reasoning_complete")
    assert "declined" in answers(model, name)[0]
    assert "Monday" in answers(model, name)[0]


def test_nobody_answers_in_time(ask_question, model, name):
    chat, _ = ask_question(approval_timeout=1)
    assert chat.until("action_resolved")["data"]["outcome"] == "expired"
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert "in time" in answers(model, name)[0]


def test_several_questions_wait_for_all_of_their_answers(ask_question, product, model, name):
    chat, first = ask_question(question("call_1"), question("call_2"))
    second = chat.until("action_required")["data"]
    for action, response in ((second, "two"), (first, "one")):
        assert product.runs(name)[0]["status"] == "waiting"
        chat.send("answer", action_id=action["action_id"], outcome="answered", response=response)
        chat.until("action_resolved")
    chat.until("reasoning_complete")
    assert sorted(answers(model, name)) == ["one", "two"]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"outcome": "answered"}, "response"),
        ({"outcome": "answered", "response": "green"}, "response"),
        ({"outcome": "answered", "response": ""}, "response"),
        ({"outcome": "answered", "response": "a\x00b"}, "response"),
        ({"outcome": "answered", "response": "x" * 10_001}, "response"),
        ({"outcome": "answered", "response": "red", "arguments": {}}, "arguments"),
        ({"outcome": "perhaps", "response": "red"}, "outcome"),
        ({"response": "red"}, "outcome"),
        ({"action_id": "act_0_0", "outcome": "declined"}, "action_id"),
        ({"action_id": f"act_{'0' * 32}_1", "outcome": "declined"}, "action_id"),
    ],
)
def test_a_bad_answer_names_the_field(ask_question, product, name, payload, field):
    chat, action = ask_question(question(options=["red", "blue"]))
    chat.send("answer", **{"action_id": action["action_id"], **payload})
    assert chat.until("error")["data"]["field"] == field
    if "action_id" not in payload:
        status, refused = product.request("POST", f"/v1/actions/{action['action_id']}/answer", payload)
        assert (status, refused["error"]["param"]) == (400, field)
    chat.send("approve", tool_call_id="call_1", approved=True)
    assert chat.until("error")["data"]["field"] == "tool_call_id"
    assert product.runs(name)[0]["status"] == "waiting"


def test_an_approval_is_an_action_too(agent, open_chat, product, name):
    call = {"tool_call": {"name": "note", "arguments": {"line": name}, "id": "call_1"}}
    who = agent([call], [{"text": "Done."}], builtin_tools=["note"], approval_required=["note"])
    chat = open_chat(name, after=0)
    chat.say("do it", agent_name=who)
    chat.until("approval_required")
    (action,) = [
        each for each in product.request("GET", "/v1/actions?status=open")[1]["data"] if each["session_id"] == name
    ]
    assert (action["kind"], action["arguments"]) == ("approval", {"line": name})
    assert action["response_schema"]["required"] == ["line"]
    sent = {"outcome": "answered", "arguments": {"line": f"{name} edited"}}
    status, answered = product.request("POST", f"/v1/actions/{action['id']}/answer", sent)
    assert (status, answered["edited_arguments"]) == (202, {"line": f"{name} edited"})
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert product.effects(name) == [f"{name} edited"]

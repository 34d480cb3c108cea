"""Approvals: a call waits for a person, no worker waits with it, and the answer is kept, whatever happens meanwhile."""

import pytest

from tests.harness.chat import Chat
from tests.harness.crashable import back_again, check_whole
from tests.harness.fakes.fake_model_process import tool_results
from tests.harness.wait import until

pytestmark = pytest.mark.slow

FINAL = "That is done."


CRASHABLE = {"WORKER_CONCURRENCY": "1"}


@pytest.fixture
def product(running):
    """A server that executes one run at a time, and can be killed."""
    return running


def note(line, **more):
    return {"tool_call": {"name": "note", "arguments": {"line": line}, **more}}


CAREFUL = {"builtin_tools": ["note", "note_again", "calculate"], "approval_required": ["note*"]}


def is_waiting(product, session):
    return product.runs(session)[0]["status"] == "waiting"


@pytest.fixture
def waiting(agent, open_chat, product, name):
    """A chat whose run waits for a person, with the frame that says so."""

    def begin(*turns, agent_fields=CAREFUL, **payload) -> tuple[Chat, dict]:
        who = agent(*(turns or ([note(name, id="call_1")], [{"text": FINAL}])), **agent_fields)
        chat = open_chat(name, after=0)
        chat.say("do it", agent_name=who, **payload)
        request = chat.until("approval_required")
        until(lambda: is_waiting(product, name))
        return chat, request["data"]

    return begin


def test_an_approved_call_is_made(waiting, product, model, name):
    chat, request = waiting()
    assert (request["tool_call_id"], request["tool_name"], request["arguments"]) == ("call_1", "note", {"line": name})
    assert product.effects(name) == []
    chat.send("approve", tool_call_id="call_1", approved=True)
    resolved = chat.until("approval_resolved")["data"]
    assert (resolved["approved"], resolved["by"]) == (True, "admin")
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert product.effects(name) == [name]
    assert tool_results(model.requests(name)[1]) == [f"noted {name}"]
    types = [step["type"] for step in chat.fold.steps.values()]
    assert types == ["tool_use", "tool_result", "final_answer"]
    check_whole(product, name, chat)


@pytest.mark.parametrize("door", ["socket", "REST"])
def test_a_person_may_change_the_arguments_of_a_call(waiting, product, model, name, door):
    chat, _ = waiting()
    other = f"{name} of a person"
    sent = {"tool_call_id": "call_1", "approved": True, "arguments": {"line": other}}
    if door == "socket":
        chat.send("approve", **sent)
    else:
        run = product.runs(name)[0]["id"]
        assert product.request("POST", f"/v1/runs/{run}/approve", sent)[0] == 202
    assert chat.until("approval_resolved")["data"]["arguments"] == {"line": other}
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert product.effects(name) == [other]
    (result,) = tool_results(model.requests(name)[1])
    assert "changed its arguments" in result
    assert result.endswith(f"noted {other}")
    steps = [frame["data"] for frame in chat.fold.of_type("reasoning_step")]
    arguments = {step["type"]: step.get("arguments") for step in steps}
    assert (arguments["tool_use"], arguments["tool_result"]) == ({"line": name}, {"line": other})
    _, listed = product.request("GET", f"/v1/runs/{product.runs(name)[0]['id']}/approvals")
    assert (listed["data"][0]["arguments"], listed["data"][0]["edited_arguments"]) == ({"line": name}, {"line": other})
    check_whole(product, name, chat)


@pytest.mark.parametrize(
    "payload",
    [
        {"approved": True, "arguments": {"line": 5}},
        {"approved": True, "arguments": {"lines": "x"}},
        {"approved": True, "arguments": ["x"]},
        {"approved": True, "arguments": {"line": "a\x00b"}},
        {"approved": False, "arguments": {"line": "x"}},
    ],
)
def test_changed_arguments_must_fit_the_tool(waiting, product, name, payload):
    chat, _ = waiting()
    chat.send("approve", tool_call_id="call_1", **payload)
    assert chat.until("error")["data"]["field"] == "arguments"
    status, refused = product.request("POST", f"/v1/runs/{product.runs(name)[0]['id']}/approve", payload)
    assert (status, refused["error"]["param"]) == (400, "arguments")
    assert is_waiting(product, name)


def test_changed_arguments_are_of_one_call(waiting, product, name):
    waiting([note(name, id="call_1"), note(name, id="call_2")], [{"text": FINAL}])
    sent = {"approved": True, "arguments": {"line": "x"}}
    status, refused = product.request("POST", f"/v1/runs/{product.runs(name)[0]['id']}/approve", sent)
    assert (status, refused["error"]["param"]) == (400, "arguments")
    assert "tool_call_id" in refused["error"]["message"]


def test_a_denied_call_is_not_made_and_the_model_reads_why(waiting, product, model, name):
    chat, _ = waiting()
    chat.send("approve", tool_call_id="call_1", approved=False, reason="Not on a Monday.")
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert product.effects(name) == []
    requests = tool_results(model.requests(name)[1])[0]
    assert "Not on a Monday." in requests and "admin" in requests
    result = chat.fold.of_type("reasoning_step")[1]["data"]
    assert result["is_error"] and "Not on a Monday." in result["content"]


def test_what_needs_no_approval_is_called_at_once(waiting, product, name):
    both = [note(name, id="call_1"), {"tool_call": {"name": "calculate", "arguments": {"expression": "6 * 7"}}}]
    chat, _ = waiting(both, [{"text": FINAL}])
    run = product.runs(name)[0]["id"]
    steps = {step["tool_name"]: step for step in product.steps(run) if step["type"] == "tool_result"}
    assert (steps["calculate"]["status"], steps["calculate"]["content"]) == ("finished", "42")
    assert steps["note"]["status"] == "pending"
    chat.send("approve", tool_call_id="call_1", approved=True)
    chat.until("reasoning_complete")
    assert product.effects(name) == [name]
    check_whole(product, name, chat)


def test_several_wait_at_once_and_the_run_goes_on_after_the_last(waiting, product, model, name):
    calls = [note(f"{name} {n}", id=f"call_{n}") for n in range(3)]
    chat, _ = waiting(calls, [{"text": FINAL}])
    while len(chat.fold.of_type("approval_required")) < 3:
        chat.next()
    for number, approved in ((1, False), (0, True)):
        chat.send("approve", tool_call_id=f"call_{number}", approved=approved)
        chat.until("approval_resolved")
        assert is_waiting(product, name)
    assert product.effects(name) == []
    chat.send("approve", tool_call_id="call_2", approved=True)
    chat.until("reasoning_complete")
    assert sorted(product.effects(name)) == [f"{name} 0", f"{name} 2"]
    results = {m["tool_call_id"]: m["content"] for m in model.requests(name)[1]["messages"] if m["role"] == "tool"}
    assert results["call_0"] == f"noted {name} 0"
    assert "did not approve" in results["call_1"]


def test_approved_for_the_rest_of_the_run(waiting, product, name):
    again = {"tool_call": {"name": "note_again", "arguments": {"line": f"{name} other"}, "id": "call_3"}}
    turns = [[note(f"{name} one", id="call_1")], [note(f"{name} two", id="call_2")], [again], [{"text": FINAL}]]
    chat, _ = waiting(*turns)
    chat.send("approve", tool_call_id="call_1", approved=True, for_run=True)
    chat.until("approval_resolved")
    request = chat.until("approval_required", "reasoning_complete")
    assert request["type"] == "approval_required", "another tool is asked about all the same"
    assert request["data"]["tool_name"] == "note_again"
    assert product.effects(name) == [f"{name} one", f"{name} two"]
    chat.send("approve", tool_call_id="call_3", approved=True)
    chat.until("reasoning_complete")
    assert [frame["data"]["tool_call_id"] for frame in chat.fold.of_type("approval_required")] == ["call_1", "call_3"]


def test_what_nobody_answers_is_denied_in_the_end(agent, open_chat, product, model, name):
    who = agent([note(name, id="call_1")], [{"text": FINAL}], **CAREFUL, approval_timeout=1)
    chat = open_chat(name, after=0)
    chat.say("do it", agent_name=who)
    resolved = chat.until("approval_resolved")["data"]
    assert (resolved["approved"], resolved["by"]) == (False, "")
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert product.effects(name) == []
    assert "nobody approved it in time" in tool_results(model.requests(name)[1])[0]
    run = product.runs(name)[0]["id"]
    assert product.get(f"/v1/runs/{run}/approvals")["data"][0]["status"] == "expired"


def test_it_survives_kill_9_and_is_answered_over_rest(waiting, product, model, name):
    chat, request = waiting()
    product.kill()
    product.start()
    assert is_waiting(product, name), "and nobody took it for a dead worker's"
    chat = back_again(chat, product, name)
    run = product.runs(name)[0]["id"]
    pending = product.get(f"/v1/runs/{run}/approvals")["data"]
    assert [(a["tool_call_id"], a["status"], a["expires_at"]) for a in pending] == [
        ("call_1", "pending", request["expires_at"])
    ]
    status, answer = product.request("POST", f"/v1/runs/{run}/approve", {"approved": True, "reason": "Go on."})
    assert status == 202, answer
    chat.until("reasoning_complete")
    assert product.effects(name) == [name]
    assert len(model.requests(name)) == 2
    check_whole(product, name, chat)
    response = product.get(f"/v1/runs/{run}/approvals")["data"][0]
    assert (response["status"], response["by"], response["reason"]) == ("approved", "admin", "Go on.")
    assert response["answered_at"]


@pytest.mark.parametrize("point", ["tool-starting", "tool-done"])
def test_killed_in_an_approved_call(waiting, product, model, name, point):
    chat, _ = waiting()
    product.crash_at(point, name)
    chat.send("approve", tool_call_id="call_1", approved=True)
    product.wait_for_crash()
    product.start()
    chat = back_again(chat, product, name)
    chat.until("reasoning_complete")
    assert product.effects(name) == ([name] if point == "tool-done" else [])
    assert "unknown" in tool_results(model.requests(name)[1])[0], "approved once is not approved twice"
    assert len(chat.fold.of_type("approval_required")) == 1
    check_whole(product, name, chat)


def test_a_waiting_run_keeps_no_worker(waiting, agent, open_chat, product, model, name):
    chat, _ = waiting()
    model.script(f"{name}-other", [[{"text": "I am here."}]])
    product.add_agent(f"{name}-other", model.base_url)
    other = open_chat(f"{name}-other")
    assert other.ask("hello", agent_name=f"{name}-other")["data"]["status"] == "completed"
    assert is_waiting(product, name)
    chat.say("and then?", agent_name=f"{name}-other")  # runs of one session go in order
    chat.send("approve", tool_call_id="call_1", approved=True)
    ends = [chat.until("reasoning_complete")["run_id"] for _ in range(2)]
    assert ends == [run["id"] for run in product.runs(name)]


def test_stopped_while_it_waits(waiting, product, name):
    chat, _ = waiting()
    chat.send("interrupt")
    assert chat.until("reasoning_complete")["data"]["status"] == "cancelled"
    chat.send("approve", tool_call_id="call_1", approved=True)
    error = chat.until("error")
    assert error["data"]["code"] == "already_answered"
    assert product.effects(name) == []
    run = product.runs(name)[0]["id"]
    assert product.get(f"/v1/runs/{run}/approvals")["data"][0]["status"] == "cancelled"


def test_the_first_answer_counts(waiting, product, name):
    chat, _ = waiting()
    chat.send("approve", tool_call_id="call_1", approved=True)
    chat.send("approve", tool_call_id="call_1", approved=False)
    assert chat.until("error")["data"]["code"] == "already_answered"
    if not chat.fold.of_type("reasoning_complete"):
        chat.until("reasoning_complete")
    assert product.effects(name) == [name]
    run = product.runs(name)[0]["id"]
    status, answer = product.request("POST", f"/v1/runs/{run}/approve", {"approved": False, "tool_call_id": "call_1"})
    assert (status, answer["error"]["code"]) == (409, "already_answered")


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"approved": True}, "tool_call_id"),
        ({"tool_call_id": "call_1"}, "approved"),
        ({"tool_call_id": "call_1", "approved": "yes"}, "approved"),
        ({"tool_call_id": "another", "approved": True}, "tool_call_id"),
        ({"tool_call_id": "call_1", "approved": True, "reason": "x" * 3000}, "reason"),
        ({"tool_call_id": "call_1", "approved": True, "for_run": 1}, "for_run"),
    ],
)
def test_a_bad_answer_names_the_field(waiting, product, name, payload, field):
    chat, _ = waiting()
    chat.send("approve", **payload)
    assert chat.until("error")["data"]["field"] == field
    assert is_waiting(product, name)


def test_a_bad_answer_over_rest(waiting, product, name):
    waiting()
    run = product.runs(name)[0]["id"]
    for body, param in (({}, "approved"), ({"approved": 1}, "approved"), ({"approved": True, "why": "x"}, "why")):
        status, answer = product.request("POST", f"/v1/runs/{run}/approve", body)
        assert (status, answer["error"]["param"]) == (400, param)
    status, _ = product.request("POST", f"/v1/runs/{run}/approve", {"approved": True, "tool_call_id": "other"})
    assert status == 404
    assert is_waiting(product, name)


def test_a_call_that_cannot_be_made_is_not_asked_about(agent, open_chat, name):
    bad = {"tool_call": {"name": "note", "arguments": {"lines": "x"}}}
    who = agent([bad], [{"text": FINAL}], **CAREFUL)
    chat = open_chat(name, after=0)
    assert chat.ask("do it", agent_name=who)["data"]["status"] == "completed"
    assert not chat.fold.of_type("approval_required")
    assert "'line' is a required property" in chat.fold.of_type("reasoning_step")[1]["data"]["content"]


def test_whoever_wants_no_reasoning_is_asked_too(waiting, name):
    chat, _ = waiting(enable_reasoning=False)
    chat.send("approve", tool_call_id="call_1", approved=True)
    chat.until("reasoning_complete")
    kinds = [frame["type"] for frame in chat.fold.frames]
    assert kinds == ["reasoning_start", "approval_required", "approval_resolved", "response", "reasoning_complete"]


def test_an_answer_that_comes_before_the_run_is_parked(agent, open_chat, product, name):
    late = {"tool_call": {"name": "late", "arguments": {"line": f"{name}-go"}}}
    who = agent(
        [note(name, id="call_1"), late], [{"text": FINAL}], builtin_tools=["note", "late"], approval_required=["note"]
    )
    chat = open_chat(name, after=0)
    chat.say("do it", agent_name=who)
    chat.until("approval_required")
    chat.send("approve", tool_call_id="call_1", approved=True)
    chat.until("approval_resolved")
    assert product.runs(name)[0]["status"] == "running"
    product.effects_file.with_name(f"{name}-go").touch()
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert sorted(product.effects(name)) == sorted([name, f"{name}-go"])
    check_whole(product, name, chat)

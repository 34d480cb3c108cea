"""Tools that the calling program executes: on the socket, over REST, and declared on an agent."""

import pytest

from tests.harness.crashable import check_whole
from tests.harness.fakes.fake_model_process import tool_results
from tests.harness.wait import until

pytestmark = pytest.mark.slow

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Tell the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
CALL = {"tool_call": {"name": "get_weather", "arguments": {"city": "Bern"}, "id": "call_w"}}
OWN = {"tool_call": {"name": "calculate", "arguments": {"expression": "6 * 7"}, "id": "call_c"}}
DONE = [{"text": "It rains."}]


@pytest.fixture
def product(running):
    return running


@pytest.fixture
def park(agent, open_chat, product, name):
    """A chat whose run waits for the calling program, with the frame that says so."""

    def begin(*turn, tools=(WEATHER,), **fields):
        who = agent([*(turn or [CALL])], DONE, **fields)
        chat = open_chat(name, after=0)
        chat.say("How is the weather?", agent_name=who, **({"tools": list(tools)} if tools else {}))
        action = chat.until("action_required")["data"]
        until(lambda: product.runs(name)[0]["status"] == "waiting")
        return chat, action

    return begin


def results(model, name) -> list[str]:
    return tool_results(model.requests(name)[-1])


def test_a_program_answers_on_its_socket(park, product, model, name):
    chat, action = park()
    assert (action["kind"], action["tool_name"], action["arguments"]) == (
        "client_tool",
        "get_weather",
        {"city": "Bern"},
    )
    (offered,) = model.requests(name)[0]["fields"]["tools"]
    assert offered["function"] == {key: WEATHER[key] for key in ("name", "description", "parameters")}
    chat.send("answer", action_id=action["action_id"], outcome="answered", response='{"rain": true}')
    assert chat.until("action_resolved")["data"]["outcome"] == "answered"
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert results(model, name) == ['{"rain": true}']
    check_whole(product, name, chat)


def test_a_program_answers_over_rest_once_and_may_say_that_the_tool_failed(agent, product, model, name):
    agent([CALL], DONE)
    sent = {"message": "How is it?", "session_id": name, "tools": [WEATHER]}
    status, accepted = product.request("POST", f"/v1/agents/{name}/runs", sent)
    assert status == 202
    until(lambda: product.runs(name)[0]["status"] == "waiting")
    listed = product.request("GET", "/v1/actions?status=open&limit=200")[1]["data"]
    (action,) = [each for each in listed if each["run_id"] == accepted["run_id"]]
    assert (action["kind"], action["response_schema"]["type"]) == ("client_tool", "string")
    path = f"/v1/actions/{action['id']}/answer"
    answer = {"outcome": "answered", "response": "No network.", "is_error": True}
    status, answered = product.request("POST", path, answer)
    assert (status, answered["status"], answered["is_error"]) == (202, "answered", True)
    status, refused = product.request("POST", path, answer)
    assert (status, refused["error"]["code"]) == (409, "action_answered")
    until(lambda: product.runs(name)[0]["status"] == "completed")
    steps = product.request("GET", f"/v1/runs/{accepted['run_id']}/steps")[1]["data"]
    assert [(s["content"], s["is_error"]) for s in steps if s["type"] == "tool_result"] == [("No network.", True)]


def test_the_agents_own_tools_run_while_the_programs_wait(park, product, model, name):
    again = {"tool_call": {"name": "get_weather", "arguments": {"city": "Genf"}, "id": "call_x"}}
    chat, first = park(CALL, OWN, again, builtin_tools=["calculate"])
    second = chat.until("action_required")["data"]
    for action, response in ((second, "sun"), (first, "rain")):
        assert product.runs(name)[0]["status"] == "waiting"
        chat.send("answer", action_id=action["action_id"], outcome="answered", response=response)
        chat.until("action_resolved")
    chat.until("reasoning_complete")
    assert sorted(results(model, name)) == ["42", "rain", "sun"]


def test_an_agent_declares_tools(park, product, model, name):
    chat, action = park(tools=(), client_tools=[WEATHER])
    chat.send("answer", action_id=action["action_id"], outcome="declined", reason="Not allowed.")
    chat.until("reasoning_complete")
    assert "declined" in results(model, name)[0]
    assert "Not allowed." in results(model, name)[0]
    (declared,) = product.request("GET", f"/v1/agents/{name}")[1]["client_tools"]
    assert declared == {key: value for key, value in WEATHER.items() if key != "type"} | {"strict": True}
    version = product.request("GET", f"/v1/agents/{name}/versions/1")[1]
    assert version["spec"]["client_tools"][0]["name"] == "get_weather"


def test_kill_9_between_call_and_result(park, product, model, name):
    _, action = park(CALL, OWN, builtin_tools=["calculate"])
    product.kill()
    product.start()
    path = f"/v1/actions/{action['action_id']}"
    assert product.request("GET", path)[1]["status"] == "open"
    assert product.request("POST", f"{path}/answer", {"outcome": "answered", "response": "rain"})[0] == 202
    until(lambda: product.runs(name)[0]["status"] == "completed")
    assert sorted(results(model, name)) == ["42", "rain"]


def test_nobody_gives_a_result_in_time(park, model, name):
    chat, _ = park(approval_timeout=1)
    assert chat.until("action_resolved")["data"]["outcome"] == "expired"
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert "in time" in results(model, name)[0]


def test_a_cancelled_run_waits_for_nothing(park, product, name):
    chat, action = park()
    chat.send("interrupt")
    assert chat.until("reasoning_complete")["data"]["status"] == "cancelled"
    path = f"/v1/actions/{action['action_id']}"
    assert product.request("GET", path)[1]["status"] == "cancelled"
    assert product.request("POST", f"{path}/answer", {"outcome": "declined"})[0] == 409


def test_a_call_that_does_not_fit_its_schema_never_reaches_the_program(agent, open_chat, model, name):
    agent([{"tool_call": {"name": "get_weather", "arguments": {"town": "Bern"}}}], DONE)
    chat = open_chat(name, after=0)
    chat.say("go", agent_name=name, tools=[WEATHER])
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert not chat.fold.of_type("action_required")
    assert "do not fit" in results(model, name)[0]


DEEP: dict = {}
for _ in range(70):
    DEEP = {"type": "object", "properties": {"a": DEEP}}

MANY = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 40} for n in range(7)}  # 40 to the power of 7 alternatives
BOMB = {"type": "object", "allOf": [{"$ref": "#/$defs/d0"}], "$defs": MANY | {"d7": {"type": "object"}}}


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ([WEATHER, WEATHER], "tools[1].name"),
        ([{**WEATHER, "name": f"tool_{n}"} for n in range(129)], "128"),
        ([{**WEATHER, "name": "two words"}], "tools[0].name"),
        ([{**WEATHER, "name": "calculate"}], "'calculate'"),
        ([{**WEATHER, "name": "declared"}], "'declared'"),
        ([{**WEATHER, "name": "a\x00b"}], "tools[0].name"),
        ([{**WEATHER, "description": "a\x00b"}], "NUL"),
        ([{**WEATHER, "description": 1}], "tools[0].description"),
        ([{**WEATHER, "parameters": {"type": "array"}}], "tools[0].parameters"),
        ([{**WEATHER, "parameters": DEEP}], "deeper"),
        ([{**WEATHER, "parameters": BOMB}], "no end"),
        ([{**WEATHER, "parameters": {"type": "object", "properties": {"a": {"$ref": "http://evil/x"}}}}], "somewhere"),
        ([{**WEATHER, "parameters": {"type": "object", "description": "x" * 270_000}}], "256 KiB"),
        ([{"type": "web_search"}], "tools[0].type"),
        (["get_weather"], "tools[0]"),
    ],
    ids=range(15),
)
def test_a_bad_tool_is_refused_by_name(agent, open_chat, product, name, tools, problem):
    agent(DONE, builtin_tools=["calculate"], client_tools=[{"name": "declared"}])
    status, refused = product.request("POST", f"/v1/agents/{name}/runs", {"message": "Hi", "tools": tools})
    assert status == 400, refused
    assert problem in refused["error"]["message"]
    assert refused["error"]["param"] == "tools"
    chat = open_chat(name)
    chat.say("Hi", agent_name=name, tools=tools)
    error = chat.until("error")["data"]
    assert error["field"].startswith("tools")
    assert product.request("GET", f"/v1/runs?agent={name}")[1]["data"] == []


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"outcome": "answered"}, "response"),
        ({"outcome": "answered", "response": "a\x00b"}, "response"),
        ({"outcome": "answered", "response": "x" * (256 * 1024 + 1)}, "response"),
        ({"outcome": "answered", "response": "x", "arguments": {}}, "arguments"),
        ({"outcome": "answered", "response": {"rain": True}}, "response"),
    ],
)
def test_a_bad_result_is_refused_by_name(park, product, name, payload, field):
    chat, action = park()
    chat.send("answer", action_id=action["action_id"], **payload)
    assert chat.until("error")["data"]["field"] == field
    status, refused = product.request("POST", f"/v1/actions/{action['action_id']}/answer", payload)
    assert (status, refused["error"]["param"]) == (400, field)
    assert product.runs(name)[0]["status"] == "waiting"


def test_an_agent_cannot_declare_a_tool_that_it_has(product, model, name):
    fields = {"name": name, "builtin_tools": ["calculate"], "client_tools": [{"name": "calculate"}]}
    status, refused = product.request("POST", "/v1/agents", fields)
    assert (status, refused["error"]["param"]) == (400, "client_tools")
    assert "calculate" in refused["error"]["message"]

"""/v1/agents: defining who answers."""

import pytest

from agents_app.models import Agent, McpServer, Provider, Run, Session
from tests.harness.responses import error_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("admin_user")]

JSON = "application/json"
PARAMETERS = {
    "temperature": 0.5,
    "top_p": None,
    "max_tokens": 200,
    "reasoning_effort": "low",
    "thinking_budget": None,
    "accepts": None,
}


@pytest.fixture
def provider():
    return Provider.objects.create(name="lab", base_url="http://lab:8080/v1", default_model="m-1")


@pytest.fixture
def servers():
    return [McpServer.objects.create(name=name, command="true") for name in ("clock", "files")]


def create(client, **body):
    return client.post("/v1/agents", body, content_type=JSON)


def test_a_name_is_all_that_an_agent_needs(client):
    response = create(client, name="helper")
    assert response.status_code == 201
    assert response.headers["Location"] == "http://testserver/v1/agents/helper"
    agent = response.json()
    assert agent["provider"] is None
    assert agent["max_iterations"] == 20
    assert agent["timeout"] == 300
    assert agent["enabled"] is True
    assert agent["mcp_servers"] == agent["builtin_tools"] == agent["approval_required"] == []
    assert agent["allowed_tools"] == agent["denied_tools"] == []
    assert agent["approval_timeout"] == 86_400
    assert set(agent["parameters"].values()) == {None}


@pytest.mark.both
def test_an_agent_is_answered_as_it_was_sent(client, provider, servers):
    sent = {
        "name": "helper",
        "role": "A helper",
        "description": " with space around ",
        "system_prompt": "Help.\n",
        "provider": "lab",
        "model": "m-2",
        "parameters": PARAMETERS,
        "mcp_servers": ["clock", "files"],
        "builtin_tools": ["calculate"],
        "allowed_tools": ["files__*", "calculate"],
        "denied_tools": ["files__delete_[a-z]*"],
        "approval_required": ["files__write_*"],
        "approval_timeout": 600,
        "max_iterations": 3,
        "timeout": 60,
        "max_total_tokens": 1000,
        "enabled": False,
    }
    assert create(client, **sent).status_code == 201
    answered = client.get("/v1/agents/helper").json()
    assert {key: answered[key] for key in sent} == sent


@pytest.mark.both
def test_what_was_read_can_be_sent_back(client, provider, servers):
    create(client, name="helper", provider="lab", parameters=PARAMETERS, mcp_servers=["files"])
    agent = client.get("/v1/agents/helper").json()
    again = client.put("/v1/agents/helper", agent, content_type=JSON)
    assert again.status_code == 200
    assert again.json() | {"updated_at": None} == agent | {"updated_at": None}


@pytest.mark.both
def test_put_resets_what_it_leaves_out_but_not_the_mark_of_the_default(client, provider, servers):
    full = {"name": "helper", "role": "A helper", "provider": "lab", "parameters": PARAMETERS}
    create(client, **full, mcp_servers=["files"], approval_required=["*"], is_default=True)
    agent = client.put("/v1/agents/helper", {"name": "helper"}, content_type=JSON).json()
    assert agent["role"] == ""
    assert agent["mcp_servers"] == agent["approval_required"] == []
    assert agent["provider"] is None
    assert agent["parameters"]["temperature"] is None
    assert agent["is_default"] is True


def test_patch_changes_only_what_it_names(client):
    create(client, name="helper", role="A helper", parameters=PARAMETERS)
    body = {"parameters": {"temperature": 1, "reasoning_effort": None}}
    agent = client.patch("/v1/agents/helper", body, content_type=JSON).json()
    assert agent["role"] == "A helper"
    assert agent["parameters"] == PARAMETERS | {"temperature": 1, "reasoning_effort": None}


def test_servers_are_named_once_and_in_order(client, servers):
    create(client, name="helper", role="A helper", mcp_servers=["files", "clock", "files"])
    assert client.get("/v1/agents/helper").json()["mcp_servers"] == ["clock", "files"]
    client.patch("/v1/agents/helper", {"role": "Another"}, content_type=JSON)
    assert client.get("/v1/agents/helper").json()["mcp_servers"] == ["clock", "files"]
    agent = client.patch("/v1/agents/helper", {"mcp_servers": ["clock"]}, content_type=JSON).json()
    assert (agent["mcp_servers"], agent["role"]) == (["clock"], "Another")


@pytest.mark.both
def test_a_list_asks_as_many_queries_for_many_agents_as_for_one(
    client, provider, servers, django_assert_max_num_queries
):
    for n in range(20):
        create(client, name=f"helper-{n}", provider="lab", mcp_servers=["clock", "files"])
    with django_assert_max_num_queries(6):
        assert len(client.get("/v1/agents").json()["data"]) == 20


@pytest.mark.both
def test_the_mark_of_the_default_moves(client):
    create(client, name="first", is_default=True)
    assert create(client, name="second", is_default=True).json()["is_default"] is True
    assert client.get("/v1/agents/first").json()["is_default"] is False
    client.patch("/v1/agents/first", {"is_default": True}, content_type=JSON)
    assert list(Agent.objects.filter(is_default=True).values_list("name", flat=True)) == ["first"]


@pytest.mark.both
def test_two_agents_cannot_share_a_name(client):
    create(client, name="helper")
    error = error_of(create(client, name="helper"), 400)
    assert (error["param"], error["code"]) == ("name", "unique")


@pytest.mark.both
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "with space"}, "name"),
        ({"name": "-dash-first"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": 7}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": "line\n"}, "name"),
        ({"name": "ok", "role": "r" * 201}, "role"),
        ({"name": "ok", "role": ["r"]}, "role"),
        ({"name": "ok", "system_prompt": "nul \0 inside"}, "system_prompt"),
        ({"name": "ok", "provider": "nobody"}, "provider"),
        ({"name": "ok", "provider": {"name": "lab"}}, "provider"),
        ({"name": "ok", "provider": 7}, "provider"),
        ({"name": "ok", "parameters": []}, "parameters"),
        ({"name": "ok", "parameters": None}, "parameters"),
        ({"name": "ok", "parameters": {"temperature": 2.1}}, "parameters.temperature"),
        ({"name": "ok", "parameters": {"temperature": "nan"}}, "parameters.temperature"),
        ({"name": "ok", "parameters": {"temperature": True}}, "parameters.temperature"),
        ({"name": "ok", "parameters": {"temprature": 1}}, "parameters.temprature"),
        ({"name": "ok", "parameters": {"max_tokens": 0}}, "parameters.max_tokens"),
        ({"name": "ok", "parameters": {"max_tokens": 10**30}}, "parameters.max_tokens"),
        ({"name": "ok", "parameters": {"max_tokens": 2**63}}, "parameters.max_tokens"),
        ({"name": "ok", "parameters": {"reasoning_effort": "huge"}}, "parameters.reasoning_effort"),
        ({"name": "ok", "parameters": {"reasoning_effort": {}}}, "parameters.reasoning_effort"),
        ({"name": "ok", "parameters": {"thinking_budget": -1}}, "parameters.thinking_budget"),
        ({"name": "ok", "parameters": {"accepts": "image"}}, "parameters.accepts"),
        ({"name": "ok", "parameters": {"accepts": ["text", "video"]}}, "parameters.accepts.1"),
        ({"name": "ok", "max_iterations": 0}, "max_iterations"),
        ({"name": "ok", "max_iterations": 1.5}, "max_iterations"),
        ({"name": "ok", "max_iterations": "5"}, "max_iterations"),
        ({"name": "ok", "timeout": None}, "timeout"),
        ({"name": "ok", "timeout": 86_401}, "timeout"),
        ({"name": "ok", "enabled": "yes"}, "enabled"),
        ({"name": "ok", "enabled": None}, "enabled"),
        ({"name": "ok", "builtin_tools": "calculate"}, "builtin_tools"),
        ({"name": "ok", "builtin_tools": ["fly"]}, "builtin_tools"),
        ({"name": "ok", "builtin_tools": [{}]}, "builtin_tools.0"),
        ({"name": "ok", "mcp_servers": ["files"]}, "mcp_servers"),
        ({"name": "ok", "mcp_servers": "files"}, "mcp_servers"),
        ({"name": "ok", "mcp_servers": None}, "mcp_servers"),
        ({"name": "ok", "mcp_servers": {"files": 1}}, "mcp_servers"),
        ({"name": "ok", "mcp_servers": [7]}, "mcp_servers.0"),
        ({"name": "ok", "mcp_servers": [None]}, "mcp_servers.0"),
        ({"name": "ok", "mcp_servers": ["nul\0"]}, "mcp_servers.0"),
        ({"name": "ok", "mcp_servers": ["files"] * 101}, "mcp_servers"),
        ({"name": "ok", "approval_required": "*"}, "approval_required"),
        ({"name": "ok", "approval_required": [" "]}, "approval_required"),
        ({"name": "ok", "approval_required": ["a" * 129]}, "approval_required"),
        ({"name": "ok", "allowed_tools": ["*"] * 201}, "allowed_tools"),
        ({"name": "ok", "allowed_tools": [7]}, "allowed_tools.0"),
        ({"name": "ok", "denied_tools": {"*": True}}, "denied_tools"),
        ({"name": "ok", "approval_timeout": 0}, "approval_timeout"),
        ({"name": "ok", "approval_timeout": 31 * 86_400}, "approval_timeout"),
        ({"name": "ok", "sytem_prompt": "a typo"}, "sytem_prompt"),
    ],
)
def test_a_wrong_field_is_named(client, body, param):
    error = error_of(create(client, **body), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert param in error["fields"]
    assert not Agent.objects.exists()


@pytest.mark.both
def test_all_wrong_fields_are_listed(client):
    error = error_of(create(client, name="", timeout=0, parameters={"top_p": 5}), 400)
    assert set(error["fields"]) == {"name", "timeout", "parameters.top_p"}
    assert error["message"].startswith("name: ")


def test_an_unknown_mcp_server_is_named_in_the_sentence(client):
    error = error_of(create(client, name="ok", mcp_servers=["files"]), 400)
    assert error["message"] == "mcp_servers: There is no MCP server 'files'."


def test_an_unknown_agent_is_not_found(client):
    for method in (client.get, client.delete):
        assert error_of(method("/v1/agents/nobody"), 404)["type"] == "not_found_error"
    assert error_of(client.patch("/v1/agents/nobody", {}, content_type=JSON), 404)
    assert error_of(client.put("/v1/agents/nobody", {"name": "nobody"}, content_type=JSON), 404)


@pytest.mark.both
def test_an_agent_is_deleted(client):
    create(client, name="helper")
    response = client.delete("/v1/agents/helper")
    assert (response.status_code, response.content) == (204, b"")
    assert client.get("/v1/agents/helper").status_code == 404


@pytest.mark.both
def test_an_agent_with_an_unfinished_run_stays(client, admin_user):
    create(client, name="helper")
    agent = Agent.objects.get()
    session = Session.objects.create(id="s", owner=admin_user)
    run = Run.objects.create(session=session, number=1, agent=agent, agent_name="helper", prompt="Hello")
    assert error_of(client.delete("/v1/agents/helper"), 409)["code"] == "in_use"
    run.status = Run.Status.COMPLETED
    run.save()
    assert client.delete("/v1/agents/helper").status_code == 204
    assert client.get(f"/v1/runs/{run.pk}").json()["agent_name"] == "helper"


@pytest.mark.both
def test_agents_whose_names_have_dots_are_found(client):
    create(client, name="gpt-5.1_x")
    assert client.get("/v1/agents/gpt-5.1_x").status_code == 200

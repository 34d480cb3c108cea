"""Agents that users make for themselves: theirs alone until they share them, within what administrators allow."""

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from agents_app.models import Agent, McpServer, Provider
from tests.harness.responses import error_of

JSON = "application/json"
ORIGIN = {"Origin": "http://testserver"}


@pytest.fixture
def ann(db, settings) -> Client:
    settings.AUTH_REQUIRED = True
    user = User.objects.create_user("ann")
    user.groups.add(Group.objects.create(name="team"))
    Group.objects.create(name="others")
    client = Client(headers=ORIGIN)
    client.force_login(user)
    return client


@pytest.fixture
def integrations(db) -> None:
    Provider.objects.create(name="main", base_url="http://main:1/v1", default_model="small", is_default=True)
    Provider.objects.create(name="closed", base_url="http://closed:1/v1", default_model="m")
    Provider.objects.create(name="open", base_url="http://open:1/v1", default_model="m", open_to_users=True)
    McpServer.objects.create(name="shell", command="true")
    McpServer.objects.create(name="clock", command="true", open_to_users=True)


@pytest.mark.parametrize("verb", ["post", "patch", "put", "draft"])
@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("provider", {"provider": "closed"}),
        ("model", {"model": "large"}),
        ("model", {"provider": "main", "model": "large"}),
        ("mcp_servers", {"mcp_servers": ["clock", "shell"]}),
        ("access", {"access": "public"}),
        ("is_default", {"is_default": True}),
        ("allowed_users", {"allowed_users": ["ann"]}),
        ("allowed_groups", {"allowed_groups": ["team", "others"]}),
        ("max_iterations", {"max_iterations": 101}),
        ("timeout", {"timeout": 3601}),
        ("owner", {"owner": "boss"}),
    ],
)
def test_an_agent_of_a_user_has_what_users_may_have(ann, integrations, verb, field, fields):
    if verb != "post":
        assert ann.post("/v1/agents", {"name": "mine"}, JSON).status_code == 201
    body = fields if verb in ("patch", "draft") else {"name": "mine"} | fields
    address = {"post": "/v1/agents", "draft": "/v1/agents/mine/draft"}.get(verb, "/v1/agents/mine")
    response = getattr(ann, "put" if verb == "draft" else verb)(address, body, JSON)
    if field == "owner":  # read only, as `version` is
        assert response.status_code < 300
        assert Agent.objects.get().owner.username == "ann"
        return
    assert error_of(response, 400)["param"] == field, response.json()


def test_an_agent_of_a_user_is_shared_with_the_groups_of_that_user(ann, integrations):
    body = {"name": "mine", "provider": "open", "model": "any", "mcp_servers": ["clock"], "system_prompt": "Be brief."}
    agent = ann.post("/v1/agents", body | {"allowed_groups": ["team"]}, JSON).json()
    assert (agent["owner"], agent["is_editable"], agent["access"]) == ("ann", True, "restricted")
    assert agent["system_prompt"] == "Be brief."
    bob = User.objects.create_user("bob")
    colleague = Client(headers=ORIGIN)
    colleague.force_login(bob)
    assert colleague.get("/v1/agents/mine").status_code == 404
    bob.groups.add(Group.objects.get(name="team"))
    seen = colleague.get("/v1/agents/mine").json()
    assert (seen["owner"], seen["is_editable"], "system_prompt" in seen) == ("ann", False, False)
    for verb, address in (("patch", ""), ("delete", ""), ("put", "/draft"), ("post", "/versions/1/activate")):
        assert getattr(colleague, verb)(f"/v1/agents/mine{address}", {}, JSON).status_code == 403
    assert "system_prompt" not in colleague.get("/v1/agents/mine/versions/1").json()["spec"]
    assert ann.get("/v1/agents/mine/versions/1").json()["spec"]["system_prompt"] == "Be brief."
    assert ann.delete("/v1/agents/mine").status_code == 204


def test_users_make_no_agents_if_the_administrator_says_so(ann, settings):
    mine = ann.post("/v1/agents", {"name": "mine"}, JSON)
    assert mine.status_code == 201
    settings.USER_AGENTS = False
    assert ann.post("/v1/agents", {"name": "other"}, JSON).status_code == 403
    assert ann.patch("/v1/agents/mine", {"role": "x"}, JSON).status_code == 403
    assert ann.get("/v1/agents/mine").json()["is_editable"] is False


def test_the_form_offers_what_a_user_may_have(ann, integrations):
    choices = ann.get("/agents/choices").json()
    offered = [(each["name"], each["has_any_model"]) for each in choices["providers"]]
    assert offered == [("main", False), ("open", True)]
    assert [server["name"] for server in choices["mcp_servers"]] == ["clock"]
    assert (choices["groups"], choices["may_publish"]) == (["team"], False)
    for provider in ("main", "closed", "nobody", ""):
        assert ann.get("/agents/models", {"provider": provider}).status_code == 404
    User.objects.update(is_superuser=True)
    choices = ann.get("/agents/choices").json()
    assert [each["name"] for each in choices["providers"]] == ["main", "closed", "open"]
    assert [server["name"] for server in choices["mcp_servers"]] == ["clock", "shell"]


def test_pages_of_administrators_are_for_them(ann):
    for address in ("/models/", "/tools/"):
        assert ann.get(address).status_code == 403
        assert address not in ann.get("/chat/").content.decode()


def test_only_the_trial_of_an_agent_is_shown_in_frames_of_ours(ann):
    for address, ancestors in (("/agents/try", "'self'"), ("/agents/", "'none'"), ("/chat/", "'none'")):
        response = ann.get(address)
        assert f"frame-ancestors {ancestors}" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Frame-Options"] == ("SAMEORIGIN" if ancestors == "'self'" else "DENY")


@pytest.mark.slow
def test_what_is_closed_to_users_stops_agents_that_have_it(people, model, name):
    """Rights are asked again when a run starts, not only when the agent is written."""
    boss, ann = people["boss"], people["ann"]
    model.script(name, [[{"text": "hello"}]] * 2)
    provider = {"name": name, "kind": "openai", "base_url": model.base_url, "default_model": name}
    assert boss.request("POST", "/v1/providers", provider | {"open_to_users": True})[0] == 201
    assert ann.request("POST", "/v1/agents", {"name": name, "provider": name, "model": name})[0] == 201
    assert people["bob"].request("POST", f"/v1/agents/{name}/runs", {"message": "hi"})[0] == 404
    chat = ann.chat(name)
    assert chat.ask("hi", agent_name=name)["data"]["status"] == "completed"
    assert boss.request("PATCH", f"/v1/providers/{name}", {"open_to_users": False})[0] == 200
    chat.say("hi", agent_name=name)
    assert chat.until("error")["data"]["code"] == "model_not_allowed"
    chat.close()


@pytest.mark.slow
def test_a_draft_answers_nobody_who_may_not_change_the_agent_any_more(admin_user, ann, integrations):
    agent = Agent.objects.create(name="helper", access=Agent.Access.PUBLIC)
    ann.force_login(admin_user)
    assert ann.put("/v1/agents/helper/draft", {"provider": "closed", "model": "large"}, JSON).status_code == 200
    start = ("/v1/agents/helper@draft/runs", {"message": "hi"}, JSON)
    assert ann.post(*start).status_code == 202
    User.objects.filter(pk=admin_user.pk).update(is_superuser=False)
    assert error_of(ann.post(*start), 404)["code"] == "agent_not_found"
    assert ann.post("/v1/agents/helper/runs", *start[1:]).status_code == 202
    assert agent.runs.count() == 2


def test_a_draft_answers_its_editor_alone(people, model, name):
    boss, ann = people["boss"], people["ann"]
    model.script(name, [[{"text": "as saved"}]])
    model.script(f"{name}-draft", [[{"text": "as drafted"}]])
    boss.add_agent(name, model.base_url)
    draft = f"{name}@draft"
    chat = boss.chat(name)
    chat.say("hi", agent_name=draft)
    assert chat.until("error")["data"]["message"] == f"You have no draft of the agent {name!r}."
    for description in ("first", "second"):
        body = {"model": f"{name}-draft", "description": description}
        assert boss.request("PUT", f"/v1/agents/{name}/draft", body) == (200, {"agent_name": draft})
        chat.ask("hi", agent_name=draft)
    chat.ask("hi", agent_name=name)
    assert [text for kind, text in chat.fold.story() if kind == "final_answer"] == ["as drafted"] * 2 + ["as saved"]
    assert boss.request("GET", f"/v1/agents/{name}")[1]["version"] == 1
    assert len(boss.request("GET", f"/v1/agents/{name}/versions")[1]["data"]) == 1
    chat.close()
    task = {
        "name": "t",
        "agent_name": draft,
        "task_prompt": "x",
        "schedule_type": "interval",
        "schedule_value": "86400",
    }
    assert boss.request("POST", "/v1/tasks", task)[0] == 400
    other = ann.chat(f"{name}-ann")
    other.say("hi", agent_name=draft)
    assert other.until("error")["data"]["code"] == "agent_not_found"
    other.close()

"""Whom an agent was granted to uses it, and nobody else; and what the admin shows to whom."""

import json
import urllib.request

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from agents_app import event_log
from agents_app.configuration.config_dir import config_dir
from agents_app.models import Agent, Approval, Run, Session, Step
from agents_app.runs.frames import start_data
from tests.harness.form_client import FormClient
from tests.harness.people import shell


@pytest.fixture(scope="module")
def granted(people, model) -> dict[str, str]:
    """Agents that Ann may use: by name, by group; and one that nobody but administrators may."""
    product = people["boss"].product
    shell(
        product,
        "from django.contrib.auth.models import Group, User\n"
        "Group.objects.get_or_create(name='team')[0].user_set.add(User.objects.get(username='ann'))",
    )
    grants = {"by-name": {"allowed_users": ["ann"]}, "by-group": {"allowed_groups": ["team"]}, "closed": {}}
    for name, grant in grants.items():
        model.script(name, [[{"text": "hello"}]])
        people["boss"].add_agent(name, model.base_url, access="restricted", **grant)
    return {name: name for name in grants}


@pytest.mark.parametrize(("who", "may"), [("ann", {"by-name", "by-group"}), ("bob", set()), ("boss", None)])
def test_agents_are_used_by_whom_they_were_granted_to(people, granted, name, who, may):
    person, may = people[who], granted.keys() if may is None else may
    _, listed = person.request("GET", "/v1/agents?limit=200")
    assert {agent["name"] for agent in listed["data"]} & granted.keys() == may
    for agent in granted:
        expected = 200 if agent in may else 404
        assert person.request("GET", f"/v1/agents/{agent}")[0] == expected
        status, _ = person.request("POST", f"/v1/agents/{agent}/runs", {"message": "hi"})
        assert status == (202 if agent in may else 404)
        task = {"name": "t", "agent_name": agent, "task_prompt": "x", "schedule_type": "interval"}
        status, _ = person.request("POST", "/v1/tasks", {**task, "schedule_value": "86400"})
        assert status == (201 if agent in may else 400)
        chat = person.chat(f"{name}-{agent}")
        chat.say("hi", agent_name=agent)
        assert chat.until("error", "reasoning_complete")["type"] == ("reasoning_complete" if agent in may else "error")
        chat.close()


def test_an_agent_that_was_taken_away_answers_no_more_in_its_session(people, granted, model, name):
    model.script(name, [[{"text": "hello"}]])
    people["boss"].add_agent(name, model.base_url, access="restricted", allowed_users=["bob"])
    chat = people["bob"].chat(name)
    assert chat.ask("hi", agent_name=name)["data"]["status"] == "completed"
    assert people["boss"].request("PATCH", f"/v1/agents/{name}", {"allowed_users": []})[0] == 200
    chat.say("again", agent_name=name)
    assert chat.until("error", "reasoning_start")["data"]["code"] == "agent_not_found"
    chat.say("again, whoever it is")
    error = chat.until("error", "reasoning_start")["data"]
    assert (error["code"], "name another one" in error["message"]) == ("agent_not_found", True), error
    chat.close()


def test_who_else_may_use_an_agent_is_told_to_administrators_only(people, granted):
    assert "allowed_users" not in people["ann"].request("GET", "/v1/agents/by-name")[1]
    assert people["boss"].request("GET", "/v1/agents/by-name")[1]["allowed_users"] == ["ann"]


HIDDEN = "nobody-reads-this"


def test_only_administrators_see_how_an_agent_is_made(people, model, name):
    boss, ann = people["boss"], people["ann"]
    server = {"name": f"s-{name[2:]}", "transport": "stdio", "command": HIDDEN, "enabled": False}
    assert boss.request("POST", "/v1/mcp-servers", server)[0] == 201
    model.script(name, [[{"text": "hello"}]])
    patterns = {kind: [HIDDEN] for kind in ("allowed_tools", "denied_tools", "approval_required")}
    boss.add_agent(name, model.base_url, system_prompt=HIDDEN, mcp_servers=[server["name"]], **patterns)
    assert ann.chat(name).ask("hi", agent_name=name)["data"]["status"] == "completed"

    _, schema = ann.request("GET", "/v1/schema")
    lists = [path for path, verbs in schema["paths"].items() if "get" in verbs and "{" not in path]
    paths = [*lists, "/v1/agents?limit=200", f"/v1/agents/{name}", f"/v1/models/{name}"]
    paths += [f"/v1/sessions/{name}", f"/v1/sessions/{name}/runs", f"/v1/sessions/{name}/events"]
    seen = {path: ann.request("GET", path) for path in paths}
    assert seen[f"/v1/agents/{name}"][1]["name"] == name
    for path, (status, answer) in seen.items():
        assert HIDDEN not in str(answer), path
        assert server["name"] not in str(answer), path
        assert status in (200, 403), path
    browser = FormClient(ann.product)
    browser.sign_in("ann")
    assert not any(HIDDEN in browser.get(page) for page in ("/chat/", "/tasks/", "/runs/"))
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_agents", "arguments": {}}}
    headers = ann.headers | {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    request = urllib.request.Request(f"{ann.product.url}/mcp", json.dumps(call).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        text = response.read().decode()
    assert name in text and HIDDEN not in text
    assert boss.request("GET", f"/v1/agents/{name}")[1]["system_prompt"] == HIDDEN


def test_only_administrators_see_what_is_wrong_with_an_agents_servers(people, model, name):
    boss, ann = people["boss"], people["ann"]
    server = {"name": f"s-{name[2:]}", "transport": "stdio", "command": f"/nowhere/{HIDDEN}"}
    assert boss.request("POST", "/v1/mcp-servers", server)[0] == 201
    model.script(name, [[{"text": "hello"}], [{"text": "hello"}]])
    boss.add_agent(name, model.base_url, mcp_servers=[server["name"]])
    warnings = {}
    for who in (ann, boss):
        chat = who.chat(f"{name}-{who.name}")
        assert chat.ask("hi", agent_name=name)["data"]["status"] == "completed"
        warnings[who.name] = chat.fold.of_type("warning")[0]["data"]
        chat.close()
    assert {each["code"] for each in warnings.values()} == {"tools_unavailable"}
    assert HIDDEN in warnings["boss"]["message"]
    assert HIDDEN not in warnings["ann"]["message"] and server["name"] not in warnings["ann"]["message"]
    assert f"/nowhere/{HIDDEN}" in ann.product.logged()


@pytest.mark.django_db
def test_staff_does_not_see_what_is_wrong_in_the_configuration(
    client, admin_client, django_user_model, settings, monkeypatch
):
    settings.AUTH_REQUIRED = True
    monkeypatch.setattr(config_dir, "problem", HIDDEN)
    client.force_login(django_user_model.objects.create_user("staff", is_staff=True))
    assert HIDDEN not in client.get("/chat/").content.decode()
    assert HIDDEN in admin_client.get("/chat/").content.decode()


@pytest.mark.django_db
def test_staff_that_looks_at_an_agent_does_not_see_how_it_is_made(client, admin_client, django_user_model):
    agent = Agent.objects.create(name="a", role="visible", system_prompt=HIDDEN, denied_tools=[HIDDEN])
    staff = django_user_model.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(content_type__app_label="agents_app"))
    client.force_login(staff)
    path = f"/admin/agents_app/agent/{agent.pk}/change/"
    page = client.get(path).content.decode()
    assert "visible" in page and HIDDEN not in page
    assert not client.get(f"/admin/agents_app/agent/?q={HIDDEN}").context["cl"].result_list
    assert client.get("/admin/agents_app/agent/?system_prompt__startswith=no").status_code == 400
    assert HIDDEN in admin_client.get(path).content.decode()
    assert admin_client.get("/admin/agents_app/agent/?system_prompt__startswith=no").status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"access": "secret"}, "access"),
        ({"allowed_users": ["nobody-here"]}, "allowed_users"),
        ({"allowed_groups": ["no-group"]}, "allowed_groups"),
        ({"allowed_users": "ann"}, "allowed_users"),
        ({"allowed_users": [7]}, "allowed_users"),
    ],
)
def test_a_wrong_grant_is_a_400_that_names_the_field(people, granted, fields, param):
    status, answer = people["boss"].request("PATCH", "/v1/agents/closed", fields)
    assert (status, answer["error"]["param"].split(".")[0]) == (400, param)


# The admin


@pytest.mark.slow
def test_staff_sees_in_the_admin_what_it_sees_everywhere_else(client, admin_user, django_user_model, db):
    staff = django_user_model.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(content_type__app_label="agents_app"))
    for owner in (staff, admin_user):
        session = Session.objects.create(id=f"of-{owner}", owner=owner, title=f"title-of-{owner}")
        run = Run.objects.create(session=session, number=1, agent_name="x", prompt=f"title-of-{owner}")
        Step.objects.create(run=run, index=0, iteration=1, kind="thought", content="", started_at=timezone.now())
        event_log.record(session.pk, run.pk, [start_data(run)])
        Approval.objects.create(
            run=run, step=1, tool_call_id="c", tool_name=f"title-of-{owner}", expires_at=timezone.now()
        )
    client.force_login(staff)
    for name in ("session", "run", "event", "approval"):
        page = client.get(f"/admin/agents_app/{name}/").content.decode()
        assert "title-of-staff" in page, name
        assert "title-of-admin" not in page, name
    assert client.get("/admin/agents_app/session/of-admin/change/").status_code == 302
    assert client.get("/admin/agents_app/session/of-staff/change/").status_code == 200

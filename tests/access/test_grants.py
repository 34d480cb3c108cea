"""Whom an agent was granted to uses it, and nobody else; and what the admin shows to whom."""

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from agents_app import event_log
from agents_app.models import Approval, Run, Session, Step
from agents_app.runs.frames import start_data
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

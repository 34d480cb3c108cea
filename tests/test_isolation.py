"""Nobody reaches what is not theirs: owner, somebody else, an administrator and a stranger at every address."""

import dataclasses
import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from agents_app import log
from agents_app.models import Approval, Run, Session, Step
from tests.servers.people import Person, invite, shell

OWN, ADMINISTRATORS, EVERYBODY, AGENTS = "one's own", "administrators'", "everybody's", "agents that one may use"

# Whose what is there is, by its address. An address that is new and not here fails the test.
WHOSE = {
    r"/": EVERYBODY,
    r"/v1/info": EVERYBODY,
    r"/v1/schema": EVERYBODY,
    r"/v1/agents(/\{name\}(/runs)?)?": AGENTS,
    r"/v1/models(/\{(id|model|name)\})?": AGENTS,
    r"/v1/(providers|mcp-servers)(/.*)?": ADMINISTRATORS,
    r"/v1/(connections|broadcast)": ADMINISTRATORS,
    r"/v1/(runs|sessions|tasks|tokens)(/.*)?": OWN,
    r"/v1/ws-tickets": OWN,
    r"/v1/(chat/completions|responses(/.*)?)": OWN,
}
UNSAFE = ("post", "put", "patch", "delete")
BODY = {  # that would be good, so that nothing but the wrong caller is at fault
    "patch": {"title": "taken over"},
    "/v1/runs/{id}/approve": {"approved": True},
    "/v1/tasks/{id}": {"enabled": False},
}


def whose(path: str) -> str:
    found = {kind for pattern, kind in WHOSE.items() if re.fullmatch(pattern, path)}
    assert len(found) == 1, f"Say in WHOSE who may do what at {path}"
    return found.pop()


@dataclasses.dataclass(frozen=True)
class Belongings:
    """What Ann has: by the first part of an address, what its {id} is."""

    ids: dict[str, str]
    secret: str

    def address(self, path: str) -> str:
        """The address of Ann's thing."""
        kind = path.split("/")[2] if path.startswith("/v1/") else ""
        return re.sub(r"\{(\w+)\}", lambda found: self.ids.get(found[1], self.ids.get(kind, "none")), path)


@pytest.fixture(scope="module")
def anns(people, model) -> Belongings:
    """A session with a run that waits for approval, a token, a task, an artifact; each says a secret."""
    secret, agent = "ann's secret", "isolation-helper"
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "1 + 1"}}}
    model.script(agent, [[{"text": secret}, call]])
    people["boss"].add_agent(agent, model.base_url, builtin_tools=["calculate"], approval_required=["*"])
    chat = people["ann"].chat("anns-session", after=0)
    chat.say(secret, agent_name=agent)
    asked = chat.until("approval_required")
    chat.close()
    _, token = people["ann"].request("POST", "/v1/tokens", {"name": secret})
    made = f"""
from agents_app.models import Artifact, Run
run = Run.objects.get(pk={asked["run_id"]!r})
print(Artifact.objects.create(run=run, kind="text", media_type="text/plain", size=1, data=b"{secret[:3]}").pk)
"""
    ids = {
        "sessions": "anns-session",
        "runs": asked["run_id"],
        "tokens": token["id"],
        "artifact": shell(people["ann"].product, made),
        "agents": "isolation-helper",
        "responses": f"resp_{asked['run_id'].replace('-', '')}",
    }
    wanted = {"name": secret, "agent_name": agent, "task_prompt": secret, "schedule_type": "interval"}
    status, task = people["ann"].request("POST", "/v1/tasks", {**wanted, "schedule_value": "86400"})
    assert status == 201, task
    return Belongings(ids | {"tasks": task["id"]}, secret)


@pytest.fixture(scope="module")
def operations(people) -> list[tuple[str, str]]:
    _, schema = people["boss"].request("GET", "/v1/schema")
    verbs = ("get", *UNSAFE)
    return [(path, verb) for path, known in schema["paths"].items() for verb in known if verb in verbs]


def ask(person: Person, verb: str, path: str, belongings: Belongings) -> tuple[int, Any]:
    """Status and answer: JSON, or the text of what is none."""
    body = BODY.get(path, BODY.get(verb, {})) if verb in UNSAFE[:3] else None
    try:
        return person.request(verb.upper(), belongings.address(path), body)
    except json.JSONDecodeError as other:
        return 200, other.doc


def test_every_address_says_whose_it_is(operations):
    assert len(operations) > 40
    for path, _ in operations:
        whose(path)


def test_a_stranger_gets_nowhere(people, anns, operations):
    for path, verb in operations:
        status, answer = ask(people[""], verb, path, anns)
        expected = 200 if whose(path) == EVERYBODY else 401
        assert status == expected, f"{verb} {path}: {status} {answer}"
        assert anns.secret not in str(answer)


def test_what_is_anothers_is_not_there(people, anns, operations):
    """Each address with Ann's ids in it is a 404 to Bob, whatever he would do with it."""
    tried = 0
    for path, verb in operations:
        if whose(path) == OWN and "{" in path:
            status, answer = ask(people["bob"], verb, path, anns)
            assert status == 404, f"{verb} {path}: {status} {answer}"
            assert anns.secret not in str(answer)
            tried += 1
    assert tried > 20


def test_lists_have_only_ones_own(people, anns, operations):
    for path, verb in operations:
        if verb == "get" and "{" not in path and whose(path) in (OWN, AGENTS):
            status, answer = people["bob"].request("GET", path)
            assert status == 200, path
            assert anns.secret not in str(answer)
    for query in (f"/v1/runs?session={anns.ids['sessions']}", "/v1/runs?agent=isolation-helper", "/v1/runs?limit=200"):
        assert anns.ids["runs"] not in str(people["bob"].request("GET", query)[1])
    for query in ("/chat/sessions?all=1&search=secret", "/chat/sessions?all=1"):
        assert anns.ids["sessions"] not in str(people["bob"].request("GET", query))
    assert people["bob"].request("GET", f"/chat/runs/{anns.ids['runs']}/steps?step=0")[0] == 404


def test_what_is_for_administrators_is_for_them_alone(people, anns, operations):
    for path, verb in operations:
        if whose(path) == ADMINISTRATORS:
            for somebody in ("ann", "bob"):
                status, answer = ask(people[somebody], verb, path, anns)
                assert (status, answer["error"]["type"]) == (403, "permission_error"), f"{verb} {path}: {status}"
        elif whose(path) == AGENTS and verb in UNSAFE and not path.endswith("/runs"):
            status, _ = people["bob"].request(verb.upper(), anns.address(path), {"name": "isolation-helper"})
            assert status == 403, f"{verb} {path}: {status}"


def test_after_all_this_everything_is_as_it_was(people, anns):
    """Runs last of its file where tests keep their order; the owner's view proves that nobody drove anything."""
    ann = people["ann"]
    assert ann.request("GET", f"/v1/runs/{anns.ids['runs']}")[1]["status"] == "waiting"
    assert ann.request("GET", f"/v1/sessions/{anns.ids['sessions']}")[1]["title"] == anns.secret
    assert ann.request("GET", f"/v1/tasks/{anns.ids['tasks']}")[1]["enabled"] is True
    assert ann.request("GET", f"/v1/tokens/{anns.ids['tokens']}")[0] == 200


def test_an_administrator_sees_everyones(people, anns, operations):
    for path, verb in operations:
        if verb == "get" and "{" in path and whose(path) == OWN and not path.startswith("/v1/tokens"):
            status, answer = ask(people["boss"], verb, path, anns)
            assert status == 200, f"{verb} {path}: {status} {answer}"


# The socket, and replays


def test_a_socket_on_anothers_session_is_closed(people, anns):
    for query in ({}, {"after": 0}, {"after": 1}):
        assert people["bob"].close_code(anns.ids["sessions"], **query) == 4404
    assert people["boss"].close_code(anns.ids["sessions"]) is None


def test_a_session_is_whose_who_used_it_first(people, anns, name):
    """A socket opened before the session was made is closed when somebody else makes it."""
    early = people["bob"].chat(name)
    chat = people["ann"].chat(name)
    chat.say("mine", agent_name="isolation-helper")
    chat.until("reasoning_start")
    assert early.close_code() == 4404
    assert early.fold.frames == early.others == []
    assert len(people["ann"].request("GET", f"/v1/sessions/{name}/runs")[1]["data"]) == 1
    chat.close()
    early.close()


def test_frames_reach_only_into_ones_own_session(people, anns, name):
    chat = people["bob"].chat(name)
    for kind, payload in (
        ("interrupt", {"run_id": anns.ids["runs"]}),
        ("approve", {"tool_call_id": "call_0", "approved": True}),
    ):
        chat.send(kind, **payload)
        assert chat.until("error")["data"]["code"] == "invalid_message"
    chat.close()


def test_a_run_in_anothers_session_is_not_started(people, anns):
    body = {"message": "hi", "session_id": anns.ids["sessions"]}
    status, answer = people["bob"].request("POST", "/v1/agents/isolation-helper/runs", body)
    assert (status, answer["error"]["code"]) == (404, "session_not_found")


# Agents that are granted


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
    assert chat.until("error", "reasoning_start")["data"].get("agent") != name
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
        log.record(session.pk, run.pk, [("reasoning_start", {"message": f"title-of-{owner}"})])
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


@pytest.mark.slow
def test_a_user_that_is_made_later_sees_nothing_either(people, anns):
    newcomer = invite(people["ann"].product, "newcomer")["newcomer"]
    for path in ("/v1/sessions", "/v1/runs", "/v1/tasks"):
        assert newcomer.request("GET", path)[1]["data"] == []

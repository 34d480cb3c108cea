"""What was opened, queued or parked before a right was withdrawn ends with the right."""

import concurrent.futures
import threading
import urllib.request
import uuid

import pytest
from django.contrib.auth.models import Group

from agents_app import runs
from agents_app.access.callers import Caller
from agents_app.exceptions import AgentNotFound, AuthenticationExpired, Conflict, InvalidMessage
from agents_app.models import Agent, Approval, Run, Session
from agents_app.runs import approvals
from agents_app.worker import claims
from chat_app.websocket import queries
from tests.harness import wait
from tests.harness.clocked import add_task, runs_of, skips_of
from tests.harness.people import Person, invite, shell

# Each withdrawal of a right: what it does in a shell where `user` and `agent` are rows, and how a run of the user's
# that was accepted before ends.
WITHDRAWALS = {
    "grant": ("agent.allowed_users.clear()", "may not use it any more"),
    "group": ("user.groups.clear()", "may not use it any more"),
    "demoted": ("user.is_superuser = False; user.save()", "may not use it any more"),
    "disabled": ("agent.enabled = False; agent.save()", "may not use it any more"),
    "deactivated": ("user.is_active = False; user.save()", "not active any more"),
}
CALL = {"tool_call": {"name": "calculate", "arguments": {"expression": "1 + 1"}}}


def rows(user: str, agent: str, then: str) -> str:
    return (
        "from django.contrib.auth.models import Group, User\nfrom agents_app.models import Agent\n"
        f"user = User.objects.get(username={user!r})\nagent = Agent.objects.filter(name={agent!r}).first()\n{then}\n"
    )


@pytest.fixture(scope="module")
def users(people) -> dict[str, Person]:
    """One user for each withdrawal, with a right to lose."""
    product = people["boss"].product
    made = {}
    for each in WITHDRAWALS:
        made |= invite(product, f"had-{each}", group=f"group-{each}")
    shell(product, rows("had-demoted", "", "user.is_superuser = True; user.save()"))
    return made


@pytest.fixture
def restricted(people, model, name):
    """Make a restricted agent whose first turn calls a tool that a person must approve."""

    def make(withdrawal: str) -> str:
        agent = f"{name}-{withdrawal}"
        grant = {
            "group": {"allowed_groups": ["group-group"]},
            "demoted": {},
        }.get(withdrawal, {"allowed_users": [f"had-{withdrawal}"]})
        model.script(agent, [[CALL], [{"text": "It went on."}]])
        fields = {"builtin_tools": ["calculate"], "approval_required": ["*"], "access": "restricted"}
        people["boss"].add_agent(agent, model.base_url, **fields, **grant)
        return agent

    return make


def test_parked_and_queued_runs_end_with_the_right(people, users, restricted, model, name):
    boss, product = people["boss"], people["boss"].product
    started: dict[str, list[str]] = {}
    agents = {each: restricted(each) for each in WITHDRAWALS}
    for each, agent in agents.items():
        user, path = users[f"had-{each}"], f"/v1/agents/{agent}/runs"
        both = [user.request("POST", path, {"message": "hi", "session_id": agent}) for _ in range(2)]
        assert [status for status, _ in both] == [202, 202], both
        started[each] = [run["run_id"] for _, run in both]
    for parked, _ in started.values():
        wait.until(lambda parked=parked: boss.request("GET", f"/v1/runs/{parked}")[1]["status"] == "waiting")
    script = "".join(rows(f"had-{each}", agents[each], then) for each, (then, _) in WITHDRAWALS.items())
    shell(product, script)
    for each, (_, reason) in WITHDRAWALS.items():
        for run in started[each]:
            ended = wait.until(lambda run=run: _finished(boss, run))
            assert ended["status"] == "failed", each
            assert reason in ended["error"], each
        assert boss.request("GET", f"/v1/runs/{started[each][0]}/approvals")[1]["data"][0]["status"] == "cancelled"
        assert len(model.requests(agents[each])) == 1, "no model and no tool was called after it"


def _finished(person: Person, run: str) -> dict | None:
    row = person.request("GET", f"/v1/runs/{run}")[1]
    return row if row["finished_at"] else None


def test_a_demoted_administrators_task_is_not_due_every_second_any_more(people, model, name):
    tom = invite(people["ann"].product, "tom")["tom"]
    shell(people["ann"].product, rows("tom", "", "user.is_superuser = True; user.save()"))
    model.script(name, [[{"text": "Hello"}]])
    people["boss"].add_agent(name, model.base_url)
    task = add_task(tom, name)
    wait.until(lambda: runs_of(tom, task))
    shell(people["ann"].product, rows("tom", "", "user.is_superuser = False; user.save()"))
    path = f"/v1/tasks/{task['id']}"
    disabled = wait.until(lambda: None if (row := tom.request("GET", path)[1])["enabled"] else row)
    assert disabled["next_run_at"] is None
    assert "disabled the task: change its schedule" in skips_of(tom, task)[-1]["message"]
    for by in (tom, people["boss"]):  # it is the owner's right that counts
        status, answer = by.request("PATCH", path, {"enabled": True})
        assert (status, answer["error"]["param"]) == (400, "schedule_value"), answer
    assert tom.request("PATCH", path, {"enabled": True, "schedule_value": "60"})[0] == 200


def test_a_demoted_administrators_socket_and_streams_close(people, model, name):
    ann, product = people["ann"], people["ann"].product
    tess = invite(product, "tess")["tess"]
    shell(product, rows("tess", "", "user.is_superuser = True; user.save()"))
    model.script(name, [[{"text": "One"}, {"wait": name}, {"text": "Two"}]])
    people["boss"].add_agent(name, model.base_url)
    run = ann.request("POST", f"/v1/agents/{name}/runs", {"message": "hi", "session_id": name})[1]
    anns = ann.request("GET", f"/v1/sessions/{name}")[1]["id"]
    began = [threading.Event(), threading.Event()]
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        try:
            paths = (f"/v1/sessions/{anns}/events?after=0", f"/v1/runs/{run['run_id']}/events")
            streams = [threads.submit(_read, tess, path, event) for path, event in zip(paths, began, strict=True)]
            own, foreign, kept = tess.chat(f"{name}-own"), tess.chat(anns, after=0), ann.chat(name, after=0)
            foreign.until_text("One")
            kept.until_text("One")
            assert all(event.wait(60) for event in began)
            shell(product, rows("tess", "", "user.is_superuser = False; user.save()"))
            assert foreign.close_code() == 4404
            texts = [stream.result(60) for stream in streams]
            own.send("ping", timestamp=1)
            own.until("pong")  # of a session of one's own the socket stays
        finally:
            model.release(name)
        assert not any("Two" in text for text in texts)
        kept.until_text("Two")
        own.close()
        kept.close()


def _read(person: Person, path: str, began: threading.Event) -> str:
    headers = person.headers | {"Accept": "text/event-stream"}
    text = ""
    request = urllib.request.Request(person.product.url + path, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        for line in answer:
            text += line.decode()
            if "One" in text:
                began.set()
    return text


# Without a server: each action of a socket, each answer and each claim reads the rows.


@pytest.fixture
def parked(db, django_user_model) -> Run:
    owner = django_user_model.objects.create_user("owner")
    agent = Agent.objects.create(name="a", access="restricted", approval_required=["*"])
    agent.allowed_users.add(owner)
    session = Session.objects.create(pk="s", owner=owner, run_count=1, agent=agent)
    run = Run.objects.create(session=session, number=1, agent=agent, agent_name="a", prompt="x", status="waiting")
    fields = {"tool_call_id": "call", "tool_name": "calculate", "expires_at": "2100-01-01T00:00:00Z"}
    Approval.objects.create(run=run, step=1, **fields)
    return run


def test_nobody_approves_a_call_of_a_run_that_must_not_go_on(parked):
    parked.agent.allowed_users.clear()
    with pytest.raises(Conflict, match="may not use it any more") as caught:
        approvals.answer(parked, tool_call_id="call", approved=True, by="somebody")
    assert caught.value.code == "agent_not_found"
    assert parked.approvals.get().status == "pending"
    assert approvals.end_denied() == 1
    (claim,) = claims.claim("w", 1)
    assert claim.denial.code == "agent_not_found"


def test_a_run_that_may_go_on_is_left_alone(parked):
    assert approvals.end_denied() == 0
    approvals.answer(parked, tool_call_id="call", approved=True, by="somebody")
    (claim,) = claims.claim("w", 1)
    assert claim.denial is None


def test_a_socket_acts_as_the_user_of_now(parked, django_user_model, settings):
    settings.AUTH_REQUIRED = True
    admin = django_user_model.objects.create_superuser("admin")
    caller = Caller(admin)
    assert queries.session_state(caller, "s", None).id == "s"
    django_user_model.objects.filter(pk=admin.pk).update(is_superuser=False)
    assert queries.session_state(caller, "s", None) is None
    with pytest.raises(InvalidMessage):
        queries.interrupt(caller, "s", parked.pk)
    django_user_model.objects.filter(pk=admin.pk).update(is_active=False)
    options = {"session_id": "own", "message": "x", "parts": None, "tools": None, "agent_name": None}
    for act in (
        lambda: queries.start_run("socket", caller, **options),
        lambda: queries.interrupt(caller, "s", None),
        lambda: queries.session_state(caller, "s", None),
    ):
        with pytest.raises(AuthenticationExpired):
            act()
    assert not Session.objects.filter(name="own").exists()


@pytest.mark.django_db
def test_claims_and_lists_agree_on_who_may_use_an_agent(django_user_model):
    """The claim's SQL by hand and `visible_to` are two texts of one rule."""
    group = Group.objects.create(name="g")
    people = {name: django_user_model.objects.create_user(name) for name in ("named", "member", "stranger")}
    people["boss"] = django_user_model.objects.create_superuser("boss")
    people["member"].groups.add(group)
    for access in Agent.Access.values:
        for enabled in (True, False):
            agent = Agent.objects.create(name=f"{access}-{enabled}", access=access, enabled=enabled)
            agent.allowed_users.add(people["named"])
            agent.allowed_groups.add(group)
            expected, claimed = {}, {}
            for name, user in people.items():
                session = Session.objects.create(pk=uuid.uuid4().hex, owner=user, run_count=1)
                Run.objects.create(session=session, number=1, agent=agent, agent_name=agent.name, prompt="x")
                expected[name] = Agent.objects.visible_to(user).enabled().filter(pk=agent.pk).exists()
            for claim in claims.claim("w", 10):
                claimed[claim.run.session.owner.username] = claim.denial is None
            assert claimed == expected, agent.name


@pytest.mark.parametrize("loss", ["withdrawn", "disabled", "deleted"])
def test_no_other_agent_answers_in_the_session_of_an_agent_that_was_taken_away(parked, loss):
    agent = parked.agent
    Agent.objects.create(name="default", is_default=True)
    if loss == "withdrawn":
        agent.allowed_users.clear()
    elif loss == "disabled":
        Agent.objects.filter(pk=agent.pk).update(enabled=False)
    else:
        agent.delete()
    with pytest.raises(AgentNotFound, match="name another one"):
        runs.start(runs.NewRun(user=parked.session.owner, session_id="s", message="go on", trigger="api"))
    runs.start(
        runs.NewRun(user=parked.session.owner, session_id="s", message="go on", agent_name="default", trigger="api")
    )

"""A session's name is its owner's own, and its id is never used again."""

import concurrent.futures
import threading
import urllib.request
import uuid

import openai
import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.db.migrations.executor import MigrationExecutor

from agents_app.models import Event, Run, ScheduledTask, Session
from tests.harness.clients import mcp_client
from tests.harness.people import Person

MISSING = str(uuid.UUID(int=0))
TASK = {"task_prompt": "x", "schedule_type": "interval", "schedule_value": "86400"}


@pytest.fixture
def agent(people, model, name) -> str:
    """An agent for everybody, which answers each message with its number."""
    model.script(name, [[{"text": f"Answer {number}."}] for number in (1, 2, 3)])
    people["boss"].add_agent(name, model.base_url)
    return name


def run_in(person: Person, agent: str, session: str, message: str = "hi") -> dict:
    status, accepted = person.request("POST", f"/v1/agents/{agent}/runs", {"message": message, "session_id": session})
    assert status == 202, accepted
    return accepted


def session_of(person: Person, session: str) -> dict:
    status, row = person.request("GET", f"/v1/sessions/{session}")
    assert status == 200, row
    return row


def test_two_users_sessions_of_one_name_are_two(people, agent, name):
    ann, bob, boss = people["ann"], people["bob"], people["boss"]
    chats = {person: person.chat(name) for person in (ann, bob)}  # before there is any such session
    for person, chat in chats.items():
        assert chat.connected["data"] | {"session_id": name, "id": None, "last_seq": 0} == chat.connected["data"]
        chat.ask(f"I am {person.name}.", agent_name=agent)
    for person, chat in chats.items():
        assert [frame["data"]["message"] for frame in chat.fold.of_type("reasoning_start")] == [f"I am {person.name}."]
        chat.close()
    rows = {person.name: session_of(person, name) for person in (ann, bob)}
    assert [(row["session_id"], row["title"]) for row in rows.values()] == [(name, "I am ann."), (name, "I am bob.")]
    assert rows["ann"]["id"] != rows["bob"]["id"]
    assert boss.request("GET", f"/v1/sessions/{name}")[0] == 404
    for person in (ann, bob):
        again = person.chat(name, after=0)
        assert again.connected["data"]["id"] == rows[person.name]["id"]
        again.until("reasoning_complete")
        again.close()
        (run,) = person.request("GET", f"/v1/runs?session={name}")[1]["data"]
        assert (run["session_id"], run["prompt"]) == (name, f"I am {person.name}.")
        assert [row["id"] for row in person.request("GET", f"/v1/sessions/{name}/runs")[1]["data"]] == [run["id"]]


def test_two_users_of_the_other_interfaces_have_a_session_each(people, agent, name):
    ids = {}
    for person in (people["ann"], people["bob"]):
        with openai.OpenAI(base_url=f"{person.product.url}/v1", api_key=person.token, max_retries=0) as client:
            hello = [{"role": "user", "content": f"I am {person.name}."}]
            raw = client.chat.completions.with_raw_response.create(
                model=agent, messages=hello, extra_headers={"X-Session-Id": name}
            )
            assert raw.headers["X-Session-Id"] == name
            client.chat.completions.create(model=agent, messages=hello, metadata={"session_id": name})
            response = client.responses.create(model=agent, input="again", conversation=name)
            assert response.conversation.id == name
            followed = client.responses.create(model=agent, input="more", previous_response_id=response.id)
            assert followed.conversation.id == name

        async def story(person: Person = person) -> None:
            async with mcp_client.client(person.product.url, token=person.token) as client:
                arguments = {"agent_name": agent, "message": "hi", "session_id": name}
                result = await client.call_tool("run_agent", arguments)
                assert result.structured_content["session_id"] == name

        mcp_client.run(story)
        assert session_of(person, name)["run_count"] == 5
        ids[person.name] = session_of(person, name)["id"]
    assert ids["ann"] != ids["bob"]


def test_an_administrator_addresses_a_session_by_its_id(people, agent, name):
    ann, boss = people["ann"], people["boss"]
    watching = ann.chat(name)
    run = run_in(ann, agent, name)
    watching.until("reasoning_complete")
    pk = session_of(ann, name)["id"]
    assert session_of(boss, pk)["session_id"] == pk
    assert boss.request("GET", f"/v1/runs/{run['run_id']}")[1]["session_id"] == pk
    chat = boss.chat(pk, after=0)
    assert (chat.connected["data"]["session_id"], chat.connected["data"]["id"]) == (pk, pk)
    chat.until("reasoning_complete")
    chat.ask("by socket", agent_name=agent)
    chat.close()
    accepted = run_in(boss, agent, pk, "by REST")
    assert accepted["session_id"] == pk, "what is answered can be sent back"
    assert accepted["links"]["session"].endswith(f"/v1/sessions/{pk}")
    assert [run["session_id"] for run in boss.request("GET", f"/v1/runs?session={pk}")[1]["data"]] == [pk] * 3
    while [frame["data"]["message"] for frame in watching.fold.of_type("reasoning_start")][1:] != [
        "by socket",
        "by REST",
    ]:
        watching.next()
    watching.close()
    run_in(boss, agent, name, "of my own")
    assert session_of(boss, name)["id"] != pk
    assert session_of(ann, pk)["run_count"] == 3, "one's own has an id too"


def test_nobody_takes_or_probes_what_is_anothers(people, agent, name):
    ann, bob = people["ann"], people["bob"]
    run_in(ann, agent, name)
    pk = session_of(ann, name)["id"]
    for session in (name, pk, MISSING):
        assert bob.request("GET", f"/v1/sessions/{session}")[0] == 404
        assert bob.request("GET", f"/v1/sessions/{session}/events")[0] == 404
        assert bob.request("DELETE", f"/v1/sessions/{session}")[0] == 404
        assert bob.request("GET", f"/v1/runs?session={session}")[1]["data"] == []
        task = {**TASK, "name": name, "agent_name": agent, "session_id": session}
        assert bob.request("POST", "/v1/tasks", task)[1]["error"]["param"] == "session_id"
    assert bob.close_code(pk) == 4404
    body = {"message": "hi", "session_id": pk}
    assert bob.request("POST", f"/v1/agents/{agent}/runs", body)[0] == 404
    run_in(bob, agent, name)
    assert session_of(bob, name)["id"] != pk
    assert session_of(ann, name)["run_count"] == 1


def test_every_tab_of_a_new_session_hears_it_whoever_begins_it(people, agent, name):
    """Before there is a session, a tab waits for its name."""
    ann = people["ann"]
    tabs = [ann.chat(name), ann.chat(name), people["bob"].chat(name)]
    run_in(ann, agent, name, "by REST")
    for tab in tabs[:2]:
        tab.until("reasoning_complete")
    tabs[1].ask("by the second", agent_name=agent)
    tabs[0].until("reasoning_complete")
    tabs[2].send("ping", timestamp=1)
    tabs[2].until("pong")
    assert [len(tab.fold.of_type("reasoning_start")) for tab in tabs] == [2, 2, 0]
    for tab in tabs:
        tab.close()


def test_watchers_of_a_deleted_session_end_and_never_hear_the_next(people, agent, name):
    ann, bob, boss = people["ann"], people["bob"], people["boss"]
    first = ann.chat(name)
    first.ask("one", agent_name=agent)
    pk = session_of(ann, name)["id"]
    watchers = [first, ann.chat(name), boss.chat(pk)]
    began = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        stream = threads.submit(_read_stream, ann, f"/v1/sessions/{name}/events?after=0", began)
        assert began.wait(60)
        assert ann.request("DELETE", f"/v1/sessions/{name}")[0] == 204
        for person in (ann, bob):
            run_in(person, agent, name, "a secret")
        assert [watcher.close_code() for watcher in watchers] == [4404] * 3
        assert "a secret" not in stream.result(60)
    assert "a secret" not in str([watcher.fold.frames for watcher in watchers])
    assert session_of(ann, name)["id"] != pk
    assert boss.request("GET", f"/v1/sessions/{pk}")[0] == 404


def _read_stream(person: Person, path: str, began: threading.Event) -> str:
    headers = person.headers | {"Accept": "text/event-stream"}
    text = ""
    with urllib.request.urlopen(urllib.request.Request(person.product.url + path, headers=headers), timeout=60) as read:
        for line in read:
            text += line.decode()
            if "reasoning_complete" in text:
                began.set()
    return text


def test_a_task_writes_into_the_session_that_its_owner_means(people, agent, name):
    ann, boss = people["ann"], people["boss"]
    run_in(ann, agent, name)
    pk = session_of(ann, name)["id"]
    for person, session in ((ann, name), (ann, pk), (boss, pk)):
        body = {**TASK, "name": name, "agent_name": agent, "session_id": session}
        status, task = person.request("POST", "/v1/tasks", body)
        own = name if person is ann else pk
        assert (status, task["session_id"], task["session"]) == (201, own, "kept"), task
        assert person.request("POST", f"/v1/tasks/{task['id']}/run")[1]["session_id"] == own
        assert [run["session_id"] for run in person.request("GET", f"/v1/tasks/{task['id']}/runs")[1]["data"]] == [own]
    assert session_of(ann, name)["run_count"] == 4


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
@pytest.mark.both
def test_an_upgrade_gives_ids_to_the_sessions_that_are_there(django_user_model):
    before = [("agents_app", "0016_token_scope")]
    executor = MigrationExecutor(connection)
    executor.migrate(before)
    owner = django_user_model.objects.create_user("ann")
    try:
        old = executor.loader.project_state(before).apps
        names = ("my-session", MISSING, "a:b.c")
        agent = old.get_model("agents_app", "Agent").objects.create(name="a")
        for number, each in enumerate(names):
            owner_id = owner.pk if number else None
            session = old.get_model("agents_app", "Session").objects.create(id=each, owner_id=owner_id, last_seq=number)
            fields = {"number": 1, "agent_name": "a", "prompt": each}
            run = old.get_model("agents_app", "Run").objects.create(session=session, **fields)
            event = {"seq": 1, "first": 1, "run_id": run.pk, "data": "{}", "created_at": "2026-11-30T00:00:00Z"}
            old.get_model("agents_app", "Event").objects.create(session=session, **event)
            task = {"name": each, "agent_id": agent.pk, "owner_id": owner.pk, "kept_session": session}
            old.get_model("agents_app", "ScheduledTask").objects.create(**task, **TASK, anchor="2026-11-30T00:00:00Z")
        ScheduledTask.objects.filter(name="a:b.c").update(kept_session=None)
    finally:
        call_command("migrate", verbosity=0)

    sessions = {session.name: session for session in Session.objects.all()}
    assert sessions.keys() == set(names)
    ids = {session.pk for session in sessions.values()}
    assert len(ids) == 3 and all(str(uuid.UUID(pk)) == pk and uuid.UUID(pk).version == 4 for pk in ids)
    assert {run.session.name for run in Run.objects.all()} == set(names)
    assert all(run.session.name == run.prompt for run in Run.objects.all())
    assert all(Event.objects.get(session=session).session_id == session.pk for session in sessions.values())
    tasks = {task.name: task.kept_session and task.kept_session.name for task in ScheduledTask.objects.all()}
    assert tasks == {"my-session": "my-session", MISSING: MISSING, "a:b.c": None}
    connection.check_constraints()
    with pytest.raises(IntegrityError):
        Session.objects.create(owner=owner, name="a:b.c")

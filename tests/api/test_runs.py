"""/v1/runs and /v1/sessions: what happened, and making it stop."""

import datetime
import json

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from django.utils import timezone

from agents_app import event_log
from agents_app.engine.spec import Usage
from agents_app.event_log.vocabulary import Response
from agents_app.models import Agent, Run, Session, Step
from agents_app.runs import starting
from agents_app.runs.frames import complete_data, start_data
from tests.harness.responses import error_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("admin_user"), pytest.mark.both]

JSON = "application/json"


@pytest.fixture
def agent():
    return Agent.objects.create(name="helper")


def start(client, *, key=None, agent="helper", **body):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/v1/agents/{agent}/runs", body, content_type=JSON, headers=headers)


# Starting


def test_a_run_is_accepted_with_links_to_all_that_follows(client, agent):
    response = start(client, message=" Hello ")
    assert response.status_code == 202
    accepted = response.json()
    assert set(accepted) == {"run_id", "session_id", "status", "links"}
    assert accepted["status"] == "queued"
    assert response.headers["Location"] == accepted["links"]["run"]
    for name, link in accepted["links"].items():
        request = client.post(link) if name == "cancel" else client.get(link)
        assert request.status_code in (200, 202), link


def test_a_run_is_answered_as_the_contract_says(client, agent):
    accepted = start(client, message="Hello", session_id="a:b.c-d_e").json()
    run = client.get(f"/v1/runs/{accepted['run_id']}").json()
    created_at = run.pop("created_at")
    assert created_at.endswith("Z")
    assert datetime.datetime.fromisoformat(created_at)
    assert run == {
        "id": accepted["run_id"],
        "session_id": "a:b.c-d_e",
        "agent_name": "helper",
        "agent_version": 1,
        "task_id": None,
        "scheduled_for": None,
        "trigger": "api",
        "priority": 0,
        "status": "queued",
        "number": 1,
        "replaces": None,
        "prompt": "Hello",
        "parts": None,
        "result": None,
        "error": None,
        "usage": {},
        "provider": "",
        "model": "",
        "cost": None,
        "context_tokens": None,
        "context_window": None,
        "attempt": 0,
        "request_id": "",  # a server gives each request its id: see test_logs
        "started_at": None,
        "finished_at": None,
    }


def test_the_same_key_is_the_same_run(client, agent):
    first = start(client, key="k-1", message="Hello").json()
    assert start(client, key="k-1", message="Hello").json() == first
    assert start(client, key="k-2", message="Hello").json()["run_id"] != first["run_id"]
    assert Run.objects.count() == 2


def test_the_same_key_is_the_same_run_in_a_session_that_is_named(client, agent):
    first = start(client, key="k-1", message="Hello", session_id="s").json()
    assert start(client, key="k-1", message="Hello", session_id="s").json() == first


def test_a_key_cannot_be_used_for_another_request(client, agent):
    start(client, key="k-1", message="Hello")
    error = error_of(start(client, key="k-1", message="Something else"), 409)
    assert error["code"] == "idempotency_key_reused"


def test_a_key_has_a_length(client, agent):
    assert error_of(start(client, key="k" * 256, message="Hello"), 400)["param"] == "Idempotency-Key"


def test_the_same_message_id_is_the_same_run(client, agent):
    first = start(client, message="Hello", session_id="s", message_id="m").json()
    assert start(client, message="Hello", session_id="s", message_id="m").json() == first


def test_a_busy_session_can_be_refused(client, agent):
    start(client, message="Hello", session_id="s")
    error = error_of(start(client, message="Hello", session_id="s", if_busy="reject"), 409)
    assert error["code"] == "session_busy"


def test_a_busy_session_can_be_interrupted(client, agent):
    first = start(client, message="Hello", session_id="s").json()
    start(client, message="Hello", session_id="s", if_busy="interrupt")
    assert client.get(f"/v1/runs/{first['run_id']}").json()["status"] == "cancelled"


def test_one_message_stops_so_many_runs(client, agent, monkeypatch):
    """They are stopped in one transaction, for which others wait."""
    monkeypatch.setattr(starting, "MOST_INTERRUPTED", 2)
    for _ in range(3):
        start(client, message="Hello", session_id="s")
    error = error_of(start(client, message="Hello", session_id="s", if_busy="interrupt"), 409)
    assert (error["code"], "More than 2 runs" in error["message"]) == ("session_busy", True)
    assert Run.objects.filter(status="queued").count() == 3


@pytest.mark.parametrize("name", ["nobody", "sleeper"])
def test_an_agent_that_is_unknown_or_disabled_starts_nothing(client, name):
    Agent.objects.create(name="sleeper", enabled=False)
    assert error_of(start(client, agent=name, message="Hello"), 404)["code"] == "agent_not_found"
    assert not Session.objects.exists()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "message"),
        ({"message": ""}, "message"),
        ({"message": " \n"}, "message"),
        ({"message": "m" * 100_001}, "message"),
        ({"message": "nul\0"}, "message"),
        ({"message": 7}, "message"),
        ({"message": None}, "message"),
        ({"message": ["Hello"]}, "message"),
        ({"message": "Hello", "session_id": ""}, "session_id"),
        ({"message": "Hello", "session_id": "with space"}, "session_id"),
        ({"message": "Hello", "session_id": "line\n"}, "session_id"),
        ({"message": "Hello", "session_id": "s" * 129}, "session_id"),
        ({"message": "Hello", "session_id": 7}, "session_id"),
        ({"message": "Hello", "session_id": "ſ"}, "session_id"),
        ({"message": "Hello", "enable_reasoning": "no"}, "enable_reasoning"),
        ({"message": "Hello", "message_id": "m" * 129}, "message_id"),
        ({"message": "Hello", "message_id": ""}, "message_id"),
        ({"message": "Hello", "if_busy": "wait"}, "if_busy"),
        ({"message": "Hello", "if_busy": None}, "if_busy"),
        ({"message": "Hello", "agent_name": "helper"}, "agent_name"),
    ],
)
def test_a_wrong_field_is_named(client, agent, body, param):
    error = error_of(start(client, **body), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert not Run.objects.exists()


def test_the_longest_message_is_taken(client, agent):
    assert start(client, message="ü" * 100_000).status_code == 202


# Reading


def test_runs_are_listed_newest_first_and_filtered(client, agent):
    Agent.objects.create(name="other")
    first = start(client, message="One", session_id="a").json()["run_id"]
    second = start(client, message="Two", session_id="b", agent="other").json()["run_id"]
    client.post(f"/v1/runs/{first}/cancel")

    def ids(query=""):
        return [run["id"] for run in client.get(f"/v1/runs{query}").json()["data"]]

    assert ids() == [second, first]
    assert ids("?ordering=created_at") == [first, second]
    assert ids("?status=cancelled") == [first]
    assert ids("?status=queued&trigger=api") == [second]
    assert ids("?trigger=chat") == []
    assert ids("?agent=other") == [second]
    assert ids("?session=a") == [first]


@pytest.mark.parametrize(
    "query", ["status=done", "trigger=magic", "ordering=prompt", "ordering=-session__owner", "session=%00"]
)
def test_a_wrong_filter_is_named(client, query):
    assert error_of(client.get(f"/v1/runs?{query}"), 400)["param"] == query.split("=")[0]


@pytest.mark.parametrize("name", ["00000000-0000-4000-8000-000000000000", "7", "%00", "../agents"])
def test_an_unknown_run_is_not_found(client, name):
    for path in ("", "/steps", "/events"):
        assert error_of(client.get(f"/v1/runs/{name}{path}"), 404)["type"] == "not_found_error"


def test_cancelling_ends_a_waiting_run_and_again_does_nothing(client, agent):
    run_id = start(client, message="Hello").json()["run_id"]
    response = client.post(f"/v1/runs/{run_id}/cancel")
    assert (response.status_code, response.json()["status"]) == (202, "cancelled")
    again = client.post(f"/v1/runs/{run_id}/cancel")
    assert (again.status_code, again.json()) == (202, response.json())


def test_steps_have_the_fields_of_the_frames(client, agent, admin_user):
    run = Run.objects.get(pk=start(client, message="Hello").json()["run_id"])
    at = timezone.now()
    for index, kind in enumerate(["thought", "tool_use", "tool_result", "final_answer"]):
        Step.objects.create(run=run, index=index, iteration=1, kind=kind, content=kind, started_at=at, finished_at=at)
    steps = client.get(f"/v1/runs/{run.pk}/steps?limit=3").json()
    assert [step["type"] for step in steps["data"]] == ["thought", "tool_use", "tool_result"]
    assert [step["step"] for step in client.get(steps["next"]).json()["data"]] == [3]


# Events


def write_log(run_id, *kinds):
    run = Run.objects.get(pk=run_id)
    events = [start_data(run), Response("All of it: ü"), complete_data(run, "completed", Usage(), 1)]
    numbers = event_log.record(run.session_id, run.pk, [event for event in events if event.event_type in kinds])
    Run.objects.filter(pk=run_id).update(first_seq=numbers[0], last_seq=numbers[-1])


def test_events_are_paged_by_their_numbers(client, agent):
    run_id = start(client, message="Hello", session_id="s").json()["run_id"]
    write_log(run_id, "reasoning_start", "response", "reasoning_complete")
    page = client.get("/v1/sessions/s/events?limit=2").json()
    assert [(frame["seq"], frame["type"]) for frame in page["data"]] == [
        (1, "reasoning_start"),
        (2, "response"),
    ]
    assert page["object"] == "list"
    assert page["has_more"] is True
    last = client.get(page["next"]).json()
    assert [frame["data"]["status"] for frame in last["data"]] == ["completed"]
    assert page["data"][1]["data"] == {"content": "All of it: ü"}
    assert (last["has_more"], last["next"]) == (False, None)
    assert client.get("/v1/sessions/s/events?after=3").json()["data"] == []


def test_events_of_a_run_are_its_own(client, agent):
    first = start(client, message="One", session_id="s").json()["run_id"]
    second = start(client, message="Two", session_id="s").json()["run_id"]
    write_log(first, "reasoning_start", "reasoning_complete")
    write_log(second, "reasoning_start")
    third = start(client, message="Three", session_id="s").json()["run_id"]
    seqs = {
        run_id: [frame["seq"] for frame in client.get(f"/v1/runs/{run_id}/events").json()["data"]]
        for run_id in (first, second, third)
    }
    assert seqs == {first: [1, 2], second: [3], third: []}


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=1.5", "after=%C2%B2", f"after={10**30}", "limit=0"])
def test_a_wrong_cursor_is_named(client, agent, query):
    start(client, message="Hello", session_id="s")
    assert error_of(client.get(f"/v1/sessions/s/events?{query}"), 400)["param"] == query.split("=")[0]


def streamed(path, **headers):
    """The events of a stream that ends by itself."""

    async def read():
        response = await AsyncClient().get(path, headers={"Accept": "text/event-stream", **headers})
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        assert response.headers["X-Accel-Buffering"] == "no"
        return b"".join([part async for part in response.streaming_content]).decode()

    return [
        dict(line.split(": ", 1) for line in event.splitlines()) for event in async_to_sync(read)().split("\n\n")[:-1]
    ]


def test_the_stream_of_a_finished_run_ends(client, agent):
    run_id = start(client, message="Hello", session_id="s").json()["run_id"]
    client.post(f"/v1/runs/{run_id}/cancel")
    frames = client.get(f"/v1/runs/{run_id}/events").json()["data"]
    assert [frame["type"] for frame in frames] == ["reasoning_start", "interrupted", "reasoning_complete"]
    events = streamed(f"/v1/runs/{run_id}/events")
    assert [event["id"] for event in events] == ["1", "2", "3"]
    assert [event["event"] for event in events] == [frame["type"] for frame in frames]
    assert [json.loads(event["data"]) for event in events] == frames
    assert [event["id"] for event in streamed(f"/v1/runs/{run_id}/events?after=0", **{"Last-Event-ID": "2"})] == ["3"]


def test_a_stream_says_that_events_were_pruned(client, agent):
    run_id = start(client, message="Hello", session_id="s").json()["run_id"]
    client.post(f"/v1/runs/{run_id}/cancel")
    Session.objects.update(pruned_seq=3)
    Session.objects.get().events.all().delete()
    assert client.get("/v1/sessions/s/events").json()["pruned_seq"] == 3
    [event] = streamed(f"/v1/runs/{run_id}/events")
    assert json.loads(event["data"]) == {"type": "reset", "data": {"after": 3}}


# Sessions


def test_a_session_is_listed_renamed_and_deleted(client, agent):
    run_id = start(client, message="What is  new?", session_id="s").json()["run_id"]
    [session] = client.get("/v1/sessions").json()["data"]
    assert (session["session_id"], session["title"], session["agent_name"]) == ("s", "What is new?", "helper")
    renamed = client.patch("/v1/sessions/s", {"title": "News"}, content_type=JSON)
    assert (renamed.status_code, renamed.json()["title"]) == (200, "News")
    assert error_of(client.delete("/v1/sessions/s"), 409)["code"] == "in_use"
    client.post(f"/v1/runs/{run_id}/cancel")
    assert client.delete("/v1/sessions/s").status_code == 204
    assert client.get(f"/v1/runs/{run_id}").status_code == 404


@pytest.mark.parametrize("body", [{"title": "t" * 201}, {"title": None}, {"title": 7}, {"name": "News"}, [], "News"])
def test_a_wrong_title_is_refused(client, agent, body):
    start(client, message="Hello", session_id="s")
    assert error_of(client.patch("/v1/sessions/s", json.dumps(body), content_type=JSON), 400)


def test_the_runs_of_a_session_come_in_their_order(client, agent):
    ids = [start(client, message=text, session_id="s").json()["run_id"] for text in ("One", "Two")]
    start(client, message="Elsewhere")
    assert [run["id"] for run in client.get("/v1/sessions/s/runs").json()["data"]] == ids
    assert error_of(client.get("/v1/sessions/nowhere/runs"), 404)


def test_a_session_cannot_be_made_or_replaced_by_hand(client):
    assert error_of(client.post("/v1/sessions", {"id": "s"}, content_type=JSON), 405)["code"] == "method_not_allowed"


def test_others_sessions_are_not_there(client, agent):
    stranger = get_user_model().objects.create_user("stranger")
    Session.objects.create(id="mine", owner=stranger)
    assert Session.objects.visible_to(stranger).count() == 1
    colleague = get_user_model().objects.create_user("colleague")
    assert not Session.objects.visible_to(colleague).exists()

"""Files in messages: at each endpoint that takes one, by the id of an upload."""

import copy

import pytest
from django.contrib.auth import get_user_model

from agents_app import clock, scheduler
from agents_app.files import saving
from agents_app.models import Agent, ApiToken, Run, ScheduledTask
from agents_app.runs.frames import start_data

pytestmark = [pytest.mark.django_db, pytest.mark.both]

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(64)
JSON = "application/json"


@pytest.fixture(autouse=True)
def helper():
    return Agent.objects.create(name="helper")


@pytest.fixture
def picture(admin_user):
    return saving.save(admin_user.pk, [PNG], name="cat.png")


@pytest.fixture
def part(picture):
    return {"type": "file", "file_id": picture.pk}


@pytest.fixture
def stored(picture):
    return {"type": "file", "file_id": picture.pk, "media_type": "image/png", "name": "cat.png", "size": len(PNG)}


def start(client, *, key="", **body):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/v1/agents/helper/runs", body, content_type=JSON, headers=headers)


def text(content):
    return {"type": "text", "text": content}


def test_a_run_has_the_texts_and_files_of_its_message(client, part, stored):
    accepted = start(client, message="Look.", parts=[text("First:"), part, text("And?")]).json()

    run = Run.objects.get(pk=accepted["run_id"])
    assert run.prompt == "Look.\nFirst:\nAnd?"
    assert run.parts == [text("Look."), text("First:"), stored, text("And?")]
    assert client.get(f"/v1/runs/{run.pk}").json()["parts"] == start_data(run).parts == run.parts


def test_files_alone_are_a_message_and_texts_alone_have_no_parts(client, part, stored):
    run = Run.objects.get(pk=start(client, parts=[part]).json()["run_id"])
    assert (run.prompt, run.parts, run.session.title) == ("", [stored], "cat.png")

    run = Run.objects.get(pk=start(client, parts=[text("Hello"), text("there")]).json()["run_id"])
    assert (run.prompt, run.parts, run.session.title) == ("Hello\nthere", None, "Hello there")


def test_the_same_key_is_the_same_run_only_with_the_same_files(client, admin_user, part):
    first = start(client, key="k", parts=[part]).json()
    again = saving.save(admin_user.pk, [PNG], name="cat.png")  # uploaded once more
    assert start(client, key="k", parts=[{"type": "file", "file_id": again.pk}]).json() == first

    other = saving.save(admin_user.pk, [b"text"], name="cat.png")
    assert start(client, key="k", parts=[{"type": "file", "file_id": other.pk}]).status_code == 409


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"parts": []}, "message"),
        ({"parts": [{"type": "text", "text": " "}]}, "message"),
        ({"parts": {}}, "parts"),
        ({"parts": [text("x")] * 1000}, "parts"),
        ({"parts": [text("x"), {"type": "video"}]}, "parts.1"),
        ({"parts": ["x"]}, "parts.0"),
        ({"parts": [{"type": "text", "text": 7}]}, "parts.0.text"),
        ({"parts": [{"type": "text", "text": "a\0b"}]}, "parts.0.text"),
        ({"parts": [{"type": "file", "file_id": ["x"]}]}, "parts.0.file_id"),
        ({"parts": [{"type": "file", "file_id": "file-\0"}]}, "parts.0.file_id"),
        ({"parts": [text("x"), {"type": "file", "file_id": "theirs"}]}, "parts.1.file_id"),
        ({"parts": [{"type": "file", "file_id": "expired"}]}, "parts.0.file_id"),
        ({"message": "x" * 60_000, "parts": [text("x" * 60_000)]}, "message"),
    ],
)
@pytest.mark.parametrize("address", ["/v1/agents/helper/runs", "/v1/tasks"])
def test_bad_parts_are_a_400_that_names_the_field(client, settings, django_user_model, address, body, param):
    settings.AUTH_REQUIRED = True
    ann, bob = map(django_user_model.objects.create_user, ("ann", "bob"))
    owners = {"theirs": ann.pk, "expired": bob.pk}
    bearer = {"Authorization": f"Bearer {ApiToken.objects.create(bob, name='test')[1]}"}
    body = copy.deepcopy(body)
    ids = {
        name: saving.save(owner, [PNG], expires_at=clock.now() if name == "expired" else None).pk
        for name, owner in owners.items()
    }
    for each in body["parts"]:
        if isinstance(each, dict) and isinstance(each.get("file_id"), str):
            each["file_id"] = ids.get(each["file_id"], each["file_id"])
    if address == "/v1/tasks":
        if "message" in body:
            body = {"task_prompt": body["message"], "parts": body["parts"]}
            param = "parts"
        param = "task_prompt" if param == "message" else param
        body = TASK | body

    response = client.post(address, body, content_type=JSON, headers=bearer)

    assert response.status_code == 400, response.content
    error = response.json()["error"]
    assert error["param"] == param
    assert f"'{param}" in error["message"] or error["message"].startswith(f"{param}: ")


TASK = {"name": "n", "agent_name": "helper", "schedule_type": "interval", "schedule_value": "86400"}


def test_a_task_has_files_and_runs_without_one_that_was_deleted(client, picture, part, stored):
    made = client.post("/v1/tasks", TASK | {"parts": [part]}, content_type=JSON).json()
    assert (made["task_prompt"], made["parts"]) == ("", [stored])
    changed = client.patch(f"/v1/tasks/{made['id']}", {"task_prompt": "Look."}, content_type=JSON).json()
    assert changed["parts"] == [stored]
    saving.delete(picture)

    run = scheduler.run_now(ScheduledTask.objects.get(pk=made["id"]), trigger=Run.Trigger.API).run

    assert (run.prompt, run.parts) == ("Look.", [text("Look."), stored])
    without = client.patch(f"/v1/tasks/{made['id']}", {"parts": None, "task_prompt": " "}, content_type=JSON)
    assert without.json()["error"]["param"] == "task_prompt"
    put = client.put(f"/v1/tasks/{made['id']}", TASK | {"task_prompt": "Alone."}, content_type=JSON)
    assert put.json()["parts"] is None


def test_the_files_of_a_task_are_its_owners(client, part):
    """Whoever changes it: an administrator's own file would not be the owner's to read."""
    ann = get_user_model().objects.create_user("ann")
    fields = {name: value for name, value in TASK.items() if name != "agent_name"}
    task = ScheduledTask.objects.create(owner=ann, agent=Agent.objects.get(), task_prompt="x", **fields)

    answer = client.patch(f"/v1/tasks/{task.pk}", {"parts": [part]}, content_type=JSON)

    assert answer.json()["error"]["param"] == "parts.0.file_id"

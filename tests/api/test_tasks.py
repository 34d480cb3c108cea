"""/v1/tasks: what is to be done, and when."""

import datetime

import pytest
from django.contrib.auth import get_user_model

from agents_app import clock
from agents_app.models import Agent, Run, ScheduledTask, Session
from agents_app.scheduler import preview

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("admin_user"), pytest.mark.both]

JSON = "application/json"
SECRET = "whsec_" + "A" * 32


@pytest.fixture(autouse=True)
def helper():
    return Agent.objects.create(name="helper")


def task_body(**changes):
    task = {
        "name": "Morning news",
        "agent_name": "helper",
        "task_prompt": "Summarise the news.",
        "schedule_type": "cron",
        "schedule_value": "0 9 * * MON-FRI",
        "timezone": "Europe/Berlin",
    }
    return task | changes


def create(client, status=201, headers=None, **changes):
    response = client.post("/v1/tasks", task_body(**changes), content_type=JSON, headers=headers)
    assert response.status_code == status, response.content
    return response.json()


def patch(client, task, status=200, **changes):
    response = client.patch(f"/v1/tasks/{task['id']}", changes, content_type=JSON)
    assert response.status_code == status, response.content
    return response.json()


def get(client, path, status=200):
    response = client.get(path)
    assert response.status_code == status, response.content
    return response.json()


def post(client, task, verb, status=200, headers=None):
    response = client.post(f"/v1/tasks/{task['id']}/{verb}", content_type=JSON, headers=headers)
    assert response.status_code == status, response.content
    return response.json()


def test_a_task_is_answered_with_its_next_moment(client):
    response = client.post("/v1/tasks", task_body(), content_type=JSON)
    task = response.json()
    assert response.headers["Location"] == f"http://testserver/v1/tasks/{task['id']}"
    for name, value in task_body().items():
        assert task[name] == value
    due = datetime.datetime.fromisoformat(task["next_run_at"])
    assert due > clock.now()
    assert due.astimezone(datetime.UTC).hour in (7, 8)
    assert (task["enabled"], task["misfire"], task["overlap"], task["session"]) == (True, "once", "skip", "new")
    assert (task["total_runs"], task["last_status"], task["last_result"], task["skipped_runs"]) == (0, None, None, 0)
    assert "webhook_secret" not in task
    assert get(client, f"/v1/tasks/{task['id']}") == task


def test_an_interval_may_be_a_number(client):
    before = clock.now()
    task = create(client, schedule_type="interval", schedule_value=300)
    assert task["schedule_value"] == "300"
    due = datetime.datetime.fromisoformat(task["next_run_at"])
    assert before + datetime.timedelta(seconds=298) < due < clock.now() + datetime.timedelta(seconds=302)


@pytest.mark.parametrize(
    ("changes", "param", "says"),
    [
        ({"schedule_value": "0 25 * * *"}, "schedule_value", "hour '25'"),
        ({"schedule_value": "0 0 30 2 *"}, "schedule_value", "day"),
        ({"schedule_type": "interval", "schedule_value": "0.5"}, "schedule_value", "from 1 to"),
        ({"schedule_type": "interval", "schedule_value": 0.5}, "schedule_value", "from 1 to"),
        ({"schedule_type": "interval", "schedule_value": True}, "schedule_value", "valid string"),
        ({"schedule_type": "once", "schedule_value": "2020-01-01T00:00:00Z"}, "schedule_value", "is over: it is 20"),
        ({"schedule_type": "once", "schedule_value": "soon"}, "schedule_value", "2027-03-01T09:00:00+01:00"),
        ({"schedule_type": "often"}, "schedule_type", "'cron', 'interval', 'once'"),
        ({"timezone": "Europe/Berln"}, "timezone", "Did you mean 'Europe/Berlin'?"),
        ({"timezone": 5}, "timezone", "valid string"),
        ({"agent_name": "nobody"}, "agent_name", "no enabled agent 'nobody'"),
        ({"agent_name": ["helper"]}, "agent_name", "name of an agent"),
        ({"task_prompt": ""}, "task_prompt", "blank"),
        ({"task_prompt": "x" * 100_001}, "task_prompt", "100000"),
        ({"name": "x" * 201}, "name", "200"),
        ({"name": "a\x00b"}, "name", "ull"),
        ({"misfire": "sometimes"}, "misfire", "'skip', 'once', 'all'"),
        ({"overlap": "maybe"}, "overlap", "'cancel_previous'"),
        ({"misfire_limit": 0}, "misfire_limit", "1"),
        ({"misfire_grace": -1}, "misfire_grace", "0"),
        ({"jitter": 86_401}, "jitter", "86400"),
        ({"max_retries": 21}, "max_retries", "20"),
        ({"retry_delay": "5"}, "retry_delay", "integer"),
        ({"timeout": 0}, "timeout", "1"),
        ({"session": "shared"}, "session", "'new', 'kept'"),
        ({"session_id": "not-there"}, "session_id", "no session 'not-there'"),
        ({"webhook_url": "ftp://example.com", "webhook_secret": SECRET}, "webhook_url", "https://example.com"),
        ({"webhook_url": "https://example.com/hook"}, "webhook_secret", "openssl rand"),
        ({"webhook_url": "https://example.com/hook", "webhook_secret": "short"}, "webhook_secret", "24 to 64 bytes"),
        ({"enabled": "yes"}, "enabled", "valid boolean"),
        ({"cron": "* * * * *"}, "cron", "Unknown field"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_saved(client, changes, param, says):
    error = create(client, status=400, **changes)["error"]
    assert error["param"] == param
    assert says in error["message"]
    assert not ScheduledTask.objects.exists()


def test_a_wrong_change_changes_nothing(client):
    task = create(client)
    assert patch(client, task, status=400, schedule_value="x", name="other")["error"]["param"] == "schedule_value"
    assert get(client, f"/v1/tasks/{task['id']}") == task


def test_a_new_schedule_is_due_when_it_says(client):
    task = create(client)
    changed = patch(client, task, schedule_type="interval", schedule_value="60")
    assert datetime.datetime.fromisoformat(changed["next_run_at"]) < clock.now() + datetime.timedelta(seconds=61)


def test_a_change_of_words_leaves_the_moment_alone(client):
    task = create(client, schedule_type="interval", schedule_value="60")
    changed = patch(client, task, name="other", task_prompt="Do something else.", max_retries=3)
    assert changed["next_run_at"] == task["next_run_at"]


def test_put_resets_what_it_leaves_out_but_for_the_secret(client):
    task = create(client, webhook_url="https://example.com/h", webhook_secret=SECRET, max_retries=4, jitter=9)
    body = task_body(webhook_url="https://example.com/h")
    response = client.put(f"/v1/tasks/{task['id']}", body, content_type=JSON)
    assert response.status_code == 200, response.content
    assert (response.json()["max_retries"], response.json()["jitter"]) == (0, 0)
    assert ScheduledTask.objects.get().webhook_secret == SECRET


def test_a_disabled_task_is_due_never_and_an_enabled_one_again(client):
    task = create(client)
    assert post(client, task, "disable")["next_run_at"] is None
    assert get(client, "/v1/tasks?enabled=true")["data"] == []
    again = post(client, task, "enable")
    assert (again["enabled"], again["next_run_at"]) == (True, task["next_run_at"])


def test_a_moment_that_is_over_cannot_be_enabled(client, monkeypatch):
    soon = clock.now() + datetime.timedelta(minutes=1)
    task = create(client, schedule_type="once", schedule_value=soon.isoformat())
    post(client, task, "disable")
    monkeypatch.setattr(clock, "now", lambda: soon + datetime.timedelta(seconds=1))
    error = post(client, task, "enable", status=400)["error"]
    assert error["param"] == "schedule_value"
    assert "is over" in error["message"]
    assert patch(client, task, name="renamed")["enabled"] is False  # what is over may still be renamed


def test_the_same_key_is_the_same_task(client):
    first = create(client, headers={"Idempotency-Key": "k1"})
    assert create(client, headers={"Idempotency-Key": "k1"})["id"] == first["id"]
    error = create(client, status=409, headers={"Idempotency-Key": "k1"}, name="other")["error"]
    assert error["code"] == "idempotency_key_reused"
    assert create(client, headers={"Idempotency-Key": "k2"})["id"] != first["id"]


def test_a_task_can_be_run_now_even_if_it_is_disabled(client):
    task = create(client, enabled=False)
    assert task["next_run_at"] is None
    accepted = post(client, task, "run", status=202)
    run = get(client, f"/v1/runs/{accepted['run_id']}")
    assert (run["task_id"], run["scheduled_for"], run["trigger"]) == (task["id"], None, "api")
    assert (run["prompt"], run["agent_name"]) == ("Summarise the news.", "helper")
    assert [each["id"] for each in get(client, f"/v1/tasks/{task['id']}/runs")["data"]] == [run["id"]]
    assert get(client, f"/v1/tasks/{task['id']}")["total_runs"] == 1
    assert get(client, f"/v1/sessions/{run['session_id']}")["title"] == "Morning news"


def test_run_now_with_the_same_key_is_one_run(client):
    task = create(client)
    runs = {post(client, task, "run", status=202, headers={"Idempotency-Key": "k"})["run_id"] for _ in range(3)}
    assert len(runs) == 1
    other = create(client)
    assert post(client, other, "run", status=202, headers={"Idempotency-Key": "k"})["run_id"] not in runs


def test_a_kept_session_is_the_same_for_each_run(client):
    task = create(client, session="kept")
    first, second = (post(client, task, "run", status=202)["session_id"] for _ in range(2))
    assert first == second == get(client, f"/v1/tasks/{task['id']}")["session_id"]


def test_a_task_can_report_into_a_session_that_there_is(client, admin_user):
    Session.objects.create(id="my-chat", owner=admin_user)
    task = create(client, session_id="my-chat")
    assert (task["session"], task["session_id"]) == ("kept", "my-chat")
    assert post(client, task, "run", status=202)["session_id"] == "my-chat"
    assert patch(client, task, session="new")["session_id"] is None


def test_a_disabled_agent_cannot_run_a_task_now(client, helper):
    task = create(client)
    Agent.objects.filter(pk=helper.pk).update(enabled=False)
    assert post(client, task, "run", status=404)["error"]["code"] == "agent_not_found"
    assert not Run.objects.exists()


def test_an_agent_that_has_tasks_is_not_deleted(client):
    create(client)
    response = client.delete("/v1/agents/helper")
    assert response.status_code == 409
    assert "Morning news" in response.json()["error"]["message"]


def test_a_deleted_task_leaves_its_runs(client):
    task = create(client)
    run = post(client, task, "run", status=202)["run_id"]
    assert client.delete(f"/v1/tasks/{task['id']}").status_code == 204
    get(client, f"/v1/tasks/{task['id']}", status=404)
    assert get(client, f"/v1/runs/{run}")["task_id"] is None


def test_lists_go_by_agent_and_page_on(client):
    Agent.objects.create(name="other")
    made = [create(client, name=f"t{i}")["id"] for i in range(3)]
    create(client, agent_name="other")
    page = get(client, "/v1/tasks?agent=helper&limit=2&ordering=created_at")
    rest = client.get(page["next"]).json()
    assert [task["id"] for task in page["data"] + rest["data"]] == made
    assert get(client, "/v1/tasks?enabled=maybe", status=400)["error"]["param"] == "enabled"


def test_somebody_elses_task_is_not_there(client, admin_user):
    task = create(client)
    stranger = get_user_model().objects.create_user("stranger")
    assert list(ScheduledTask.objects.visible_to(stranger)) == []
    assert [str(row.pk) for row in ScheduledTask.objects.visible_to(admin_user)] == [task["id"]]


# In advance


def test_the_simulation_tells_of_daylight_saving(client):
    task = create(client, schedule_value="30 2 * * *")
    query = "from=2027-03-27T00:00:00Z&to=2027-03-30T00:00:00Z"
    answer = get(client, f"/v1/tasks/{task['id']}/simulate?{query}")
    assert [(each["local_time"], each["reason"]) for each in answer["data"]] == [
        ("2027-03-27T02:30:00+01:00", "normal"),
        ("2027-03-28T03:00:00+02:00", "moved_by_daylight_saving"),
        ("2027-03-29T02:30:00+02:00", "normal"),
    ]
    assert answer["data"][1]["scheduled_for"] == "2027-03-28T01:00:00Z"
    assert not answer["has_more"]


def test_the_simulation_tells_of_runs_that_overlap(client):
    task = create(client, schedule_type="interval", schedule_value="60")

    def outcomes(overlap):
        patch(client, task, overlap=overlap)
        answer = get(client, f"/v1/tasks/{task['id']}/simulate?count=4&duration=90")
        assert answer["has_more"]
        return [(each["outcome"], each["reason"]) for each in answer["data"]]

    run, late = ("runs", "normal"), ("waits", "queued")
    assert outcomes("skip") == [run, ("skipped", "overlap")] * 2
    assert outcomes("queue") == [run, late, late, late]
    assert outcomes("cancel_previous") == [run] + [("runs", "replaces_previous")] * 3
    assert outcomes("allow") == [run] * 4


def test_the_simulation_shows_the_jitter_that_there_will_be(client):
    task = create(client, jitter=600)
    foreseen = get(client, f"/v1/tasks/{task['id']}/simulate?count=20")["data"]
    late = [
        datetime.datetime.fromisoformat(each["starts_at"]) - datetime.datetime.fromisoformat(each["scheduled_for"])
        for each in foreseen
    ]
    assert foreseen[0]["starts_at"][:23] == task["next_run_at"][:23]
    assert all(datetime.timedelta() <= each < datetime.timedelta(seconds=600) for each in late)
    assert len(set(late)) > 10


@pytest.mark.parametrize(
    "query", ["count=0", "count=1001", "from=yesterday", "to=2027-13-01", "duration=-1", "from=9999-12-31T23:59-12:00"]
)
def test_a_wrong_question_to_the_simulation_is_named(client, query):
    task = create(client)
    assert get(client, f"/v1/tasks/{task['id']}/simulate?{query}", status=400)["error"]["param"] == query.split("=")[0]


@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00", "9900-01-01T00:00:00Z",
               "0001-01-01T00:00:00Z", "1899-12-31T23:59:59"]
)  # fmt: skip
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_a_moment_that_is_too_far_away_is_refused(client, moment, zone):
    schedule = {"schedule_type": "once", "schedule_value": moment, "timezone": zone}
    for path, body in (("/v1/tasks", task_body(**schedule)), ("/v1/tasks/simulate", schedule)):
        response = client.post(path, body, content_type=JSON)
        assert response.status_code == 400, response.content
        assert "is out of range: use a year from 1900 to 9899" in response.content.decode()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("interval", "1"),
        ("interval", "316224000"),
        ("cron", "0 0 29 2 *"),
        ("cron", "* * 1 1 *"),
        ("once", "9899-12-31T23:59Z"),
    ],
)
@pytest.mark.parametrize("since", ["", "9899-12-31T23:59:00Z", "9899-12-31T00:00:00-12:00"])
def test_a_preview_ends_before_the_last_year(client, kind, value, since):
    zone = {"timezone": "Pacific/Kiritimati"}
    task = create(client, schedule_type=kind, schedule_value=value, **zone)
    answer = get(client, f"/v1/tasks/{task['id']}/simulate?count=1000&duration=2592000&from={since}")
    assert all(row["scheduled_for"] < "9900" for row in answer["data"])


def test_a_schedule_can_be_tried_before_it_is_saved(client):
    names = {"schedule_type": "cron", "schedule_value": "0 0 29 2 *", "count": 2}
    answer = client.post("/v1/tasks/simulate", names, content_type=JSON).json()
    assert [each["scheduled_for"][5:10] for each in answer["data"]] == ["02-29", "02-29"]
    error = client.post("/v1/tasks/simulate", names | {"schedule_value": "* *"}, content_type=JSON).json()["error"]
    assert (error["param"], error["type"]) == ("schedule_value", "invalid_request_error")
    assert not ScheduledTask.objects.exists()


def test_a_preview_that_takes_long_to_compute_ends_early(client, monkeypatch):
    """The moments of this line are years apart: 1000 of them took five seconds, of which everybody had their share."""
    monkeypatch.setattr(preview, "LONGEST_COMPUTATION", 0.1)
    line = {"schedule_type": "cron", "schedule_value": "59 23 31 12 */7", "count": 1000}
    answer = client.post("/v1/tasks/simulate", line, content_type=JSON).json()
    assert answer["has_more"] and 0 < len(answer["data"]) < 500

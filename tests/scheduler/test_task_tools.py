"""Agents that schedule work when they are asked to in a chat."""

import datetime
import json

import pytest

from tests.harness.chat import Chat
from tests.harness.clocked import Clocked, get, moment, runs_of, whole_list
from tests.harness.wait import until

pytestmark = pytest.mark.slow

TOOLS = [
    "create_task", "list_tasks", "update_task", "enable_task", "disable_task", "delete_task",
    "run_task", "get_run", "cancel_run",
]  # fmt: skip


def calling(tool, **arguments):
    return {"tool_call": {"name": tool, "arguments": arguments}}


@pytest.fixture
def answers_of(product, agent, open_chat, name):
    """Have an agent call tools, one after the other; what each of them answered."""

    def ask(*calls):
        agent(*[[call] for call in calls], [{"text": "That is all."}], builtin_tools=TOOLS)
        chat = open_chat(name, agent_name=name)
        assert chat.ask("Please.")["data"]["status"] == "completed"
        steps = [frame["data"] for frame in chat.fold.of_type("reasoning_step")]
        return [(step["is_error"], step["content"]) for step in steps if step["type"] == "tool_result"]

    return ask


def task(name, **changes):
    names = {"name": name, "task_prompt": "Do it.", "schedule_type": "cron", "schedule_value": "0 9 * * *"}
    return calling("create_task", **(names | changes))


def test_every_weekday_at_nine_is_a_task_that_fires_and_reports_into_the_chat(tmp_path, model, name):
    teller = f"{name}-teller"
    create = task(
        f"{name}-news", task_prompt="Summarise the news.", schedule_value="0 9 * * MON-FRI",
        timezone="Europe/Berlin", agent_name=teller, report_here=True,
    )  # fmt: skip
    model.script(name, [[{"text": "I will see to it. "}, create], [{"text": "Done: every weekday at nine."}]])
    model.script(teller, [[{"text": "Nothing happened today."}]])
    with Clocked(tmp_path) as server:
        server.add_agent(name, model.base_url, builtin_tools=["create_task"])
        server.add_agent(teller, model.base_url)
        chat = Chat(server.socket_url(name, agent_name=name))
        request = chat.ask("Every weekday at nine, summarise the news.")
        assert request["data"]["status"] == "completed"
        [made] = whole_list(server, "/v1/tasks")
        assert (made["session"], made["session_id"], made["agent_name"]) == ("kept", name, teller)
        due = moment(made["next_run_at"])
        server.put_forward((due - server.now()).total_seconds() + 1)
        started = chat.until("reasoning_start")["data"]
        assert (started["message"], started["trigger"]) == ("Summarise the news.", "schedule")
        chat.until_text("Nothing happened today.")
        assert chat.until("reasoning_complete")["data"]["status"] == "completed"
        [run] = runs_of(server, made)
        assert moment(run["scheduled_for"]) == due
        chat.close()


def test_an_agent_makes_changes_and_deletes_tasks(answers_of, product, model, name):
    doer = f"{name}-doer"
    model.script(doer, [[{"text": "Done."}]])
    product.add_agent(doer, model.base_url)
    answers = answers_of(
        task(name, timezone="Asia/Tokyo", agent_name=doer),
        calling("list_tasks"),
        calling("update_task", task=name, schedule_type="interval", schedule_value=3600),
        calling("disable_task", task=name),
        calling("enable_task", task=name),
        calling("run_task", task=name),
        calling("delete_task", task=name),
    )
    assert not any(is_error for is_error, _ in answers), answers
    created, listed, updated, disabled, enabled, started, deleted = (json.loads(text) for _, text in answers)
    assert all(at.endswith("T09:00:00+09:00") for at in created["next_runs"])
    assert created in listed["tasks"]
    assert updated["schedule"] == "interval 3600"
    hours = [moment(at) for at in updated["next_runs"]]
    assert hours[1] - hours[0] == datetime.timedelta(hours=1)
    assert (disabled["enabled"], disabled["next_runs"], enabled["enabled"]) == (False, [], True)
    assert get(product, f"/v1/runs/{started['run_id']}")["trigger"] == "agent"
    assert deleted == {"deleted": name}
    assert name not in [each["name"] for each in whole_list(product, "/v1/tasks")]


def test_an_error_names_the_field_so_that_the_model_can_correct_it(answers_of, product, name):
    answers = answers_of(
        task(name, schedule_value="0 9 * * FUNDAY", timezone="Berlin"),
        task(name, schedule_type="once", schedule_value="2020-01-01T00:00:00Z"),
        task(name, agent_name="nobody-there"),
        task(name, schedule_type="sometimes"),
        task(name, when="at nine"),
        calling("run_task", task="no-such-task"),
        calling("get_run", run_id="42"),
        calling("update_task", task="no-such-task"),
    )
    assert all(is_error for is_error, _ in answers), answers
    texts = [text for _, text in answers]
    for text, says in zip(
        texts,
        ["'timezone'", "is over: it is", "There are: ", "sometimes", "when", "No task 'no-such-task'", "'42'", "field"],
        strict=True,
    ):
        assert says in text
    assert name not in [each["name"] for each in whole_list(product, "/v1/tasks")]


def test_an_agent_looks_after_runs(product, model, agent, open_chat, name):
    """It starts one that never ends, sees it, and stops it."""
    slow = f"{name}-slow"
    model.script(slow, [[{"wait": f"{name}-never"}]])
    product.add_agent(slow, model.base_url)
    status, made = product.request(
        "POST",
        "/v1/tasks",
        {"name": slow, "agent_name": slow, "task_prompt": "Go.", "schedule_type": "interval", "schedule_value": 86400},
    )
    assert status == 201
    status, accepted = product.request("POST", f"/v1/tasks/{made['id']}/run")
    run_id = accepted["run_id"]
    model.wait_for_request(slow)
    calls = [calling("get_run", run_id=run_id), calling("cancel_run", run_id=run_id)]
    agent(*[[call] for call in calls], [{"text": "Stopped."}], builtin_tools=TOOLS)
    chat = open_chat(name, agent_name=name)
    chat.ask("Stop it.")
    model.wait_for_abort(slow)
    results = [f["data"] for f in chat.fold.of_type("reasoning_step") if f["data"]["type"] == "tool_result"]
    assert json.loads(results[0]["content"])["status"] == "running"
    assert json.loads(results[1]["content"])["run_id"] == run_id
    until(lambda: get(product, f"/v1/runs/{run_id}")["status"] == "cancelled")


def test_a_task_that_runs_tasks_comes_to_an_end(answers_of, product, name):
    """Whoever is started so does the same as who started it: makes a task, and runs it."""
    answers = answers_of(task(name, report_here=True), calling("run_task", task=name))
    assert not any(is_error for is_error, _ in answers), answers
    until(lambda: all(run["status"] == "completed" for run in whole_list(product, f"/v1/sessions/{name}/runs")))
    first, second = whole_list(product, f"/v1/sessions/{name}/runs")
    steps = get(product, f"/v1/runs/{second['id']}/steps?limit=50")["data"]
    errors = [step["content"] for step in steps if step["is_error"]]
    assert len(errors) == 1
    assert "could go on forever" in errors[0]
    assert (first["trigger"], second["trigger"]) == ("chat", "agent")

"""Variables of prompts, and the metadata of sessions that they name."""

import datetime

import pytest

from agents_app import clock, runs
from agents_app.models import Agent, Session
from agents_app.worker import claims

JSON = "application/json"
PROMPT = (
    "{{agent_name}} for {{ current_user }} of {{metadata.team}}{{metadata.no such}}; {{current_date}} {not} {{#if}}"
)


def test_the_model_gets_the_prompt_with_the_values_of_the_moment(product, agent, open_chat, model, name):
    who = agent([{"text": "Hello."}], system_prompt=PROMPT)
    body = {"message": "hi", "session_id": name, "metadata": {"team": "{{agent_name}}", "other": "x"}}
    assert product.request("POST", f"/v1/agents/{who}/runs", body)[0] == 202
    model.wait_for_request(who)
    status, session = product.request("PATCH", f"/v1/sessions/{name}", {"metadata": {"team": "blue"}})
    assert (status, session["metadata"]) == (200, {"team": "blue"})
    open_chat(name).ask("and now?", agent_name=who)
    today = datetime.datetime.now(datetime.UTC).date()
    prompts = [request["messages"][0]["content"] for request in model.requests(who)]
    middle = [prompt.removeprefix(f"{who} for admin of ").partition(";") for prompt in prompts]
    assert [team for team, _, _ in middle] == ["{{agent_name}}", "blue"]
    assert {rest for _, _, rest in middle} <= {
        f" {today - datetime.timedelta(days)} {{not}} {{{{#if}}}}" for days in (0, 1)
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.both
def test_a_run_keeps_the_values_with_which_it_was_accepted(admin_user, monkeypatch):
    Agent.objects.create(name="helper", model="m", system_prompt="{{current_datetime}} {{metadata.k}} {{metadata.k}}")
    moment = datetime.datetime(2026, 12, 1, 1, 2, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    monkeypatch.setattr(clock, "now", lambda: moment)
    run = runs.start(runs.NewRun(user=admin_user, session_id="s", message="hi", trigger="api", metadata={"k": "v"})).run
    monkeypatch.undo()
    Session.objects.update(metadata=None)
    (ours,) = claims.claim("one", 1, only=[run.pk])
    assert ours.spec.system_prompt == "2026-11-30T23:02:03Z v v"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{{ metadata }}", "There is no variable {{metadata}}. There are: {{current_date}}, "),
        ("{{agent_name}} {{Current_date}}", "There is no variable {{Current_date}}."),
        ("{{agent_name}}" * 101, "Use at most 100 variables."),
    ],
)
def test_a_prompt_with_a_wrong_variable_is_not_saved(client, admin_user, prompt, message):
    response = client.post("/v1/agents", {"name": "helper", "system_prompt": prompt}, content_type=JSON)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "system_prompt")
    assert message in error["message"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "null"),
        ([], "object of strings"),
        ({"k": 1}, "for 'k'"),
        ({"k": "x" * 513}, "at most 512 characters for 'k'"),
        ({"": "x"}, "1 to 64 characters"),
        ({"k" * 65: "x"}, "1 to 64 characters"),
        ({str(n): "x" for n in range(17)}, "at most 16 entries"),
        ({"k": "a\x00"}, "NUL"),
    ],
)
def test_wrong_metadata_is_a_400_that_says_why(client, admin_user, metadata, message):
    Session.objects.create(pk="s", owner=admin_user)
    Agent.objects.create(name="helper")
    starts = client.post("/v1/agents/helper/runs", {"message": "hi", "metadata": metadata}, content_type=JSON)
    for response in (starts, client.patch("/v1/sessions/s", {"metadata": metadata}, content_type=JSON)):
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, "metadata"), error
        assert message in error["message"]

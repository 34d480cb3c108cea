"""Versions of agents over REST, and `name@n` wherever an agent is named."""

import pytest
from django.test import Client

from agents_app import runs
from agents_app.exceptions import AgentNotFound
from agents_app.models import Agent, AgentVersion, McpServer, Provider, Run, ScheduledTask
from agents_app.tools.tasks import Request, _act
from tests.harness.responses import error_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("admin_user")]

JSON = "application/json"
TASK = {"name": "t", "task_prompt": "x", "schedule_type": "interval", "schedule_value": "300", "enabled": False}


@pytest.fixture
def helper(client):
    """An agent of two versions."""
    McpServer.objects.create(name="files", command="true")
    Provider.objects.create(name="lab", base_url="http://lab/v1")
    body = {"name": "helper", "system_prompt": "first", "provider": "lab", "mcp_servers": ["files"]}
    assert client.post("/v1/agents", body, content_type=JSON).json()["version"] == 1
    change = {"system_prompt": "second", "provider": None, "mcp_servers": [], "parameters": {"top_p": 0.5}}
    assert client.patch("/v1/agents/helper", change, content_type=JSON).json()["version"] == 2
    return Agent.objects.get()


def test_each_change_is_one_version_that_stays_as_it_was(client, helper, admin_user):
    client.patch("/v1/agents/helper", {"enabled": True, "system_prompt": "second"}, content_type=JSON)
    rows = client.get("/v1/agents/helper/versions").json()["data"]
    assert [(row["version"], row["is_current"], row["created_by"]) for row in rows] == [
        (2, True, "admin"), (1, False, "admin"),
    ]  # fmt: skip
    spec = client.get("/v1/agents/helper/versions/1").json()["spec"]
    assert (spec["system_prompt"], spec["provider"], spec["mcp_servers"]) == ("first", "lab", ["files"])
    assert spec["parameters"] == dict.fromkeys(spec["parameters"])
    assert client.get("/v1/agents/helper/versions/2").json()["spec"]["parameters"]["top_p"] == 0.5
    for path in ("/v1/agents/helper/versions/3", "/v1/agents/none/versions", f"/v1/agents/helper/versions/{2**70}"):
        assert client.get(path).status_code == 404


def test_users_see_versions_of_their_agents_without_what_is_hidden(helper, django_user_model, settings):
    settings.AUTH_REQUIRED = True
    user = Client()
    user.force_login(django_user_model.objects.create_user("ann"))
    version = user.get("/v1/agents/helper/versions/1").json()
    assert not {"created_by", "note"} & version.keys()
    assert not {"system_prompt", "mcp_servers", "approval_required"} & version["spec"].keys()
    assert version["spec"]["provider"] == "lab"
    Agent.objects.update(access="restricted")
    for path in ("versions", "versions/1"):
        assert user.get(f"/v1/agents/helper/{path}").status_code == 404


def test_an_older_version_is_activated_as_a_new_one(client, helper):
    path = "/v1/agents/helper/versions/1/activate"
    agent = client.post(path, {"note": "The second one is rude."}, content_type=JSON).json()
    assert (agent["version"], agent["system_prompt"], agent["provider"], agent["mcp_servers"]) == (
        3, "first", "lab", ["files"],
    )  # fmt: skip
    newest = client.get("/v1/agents/helper/versions/3").json()
    assert (newest["is_current"], newest["note"]) == (True, "The second one is rude.")
    assert newest["spec"] == client.get("/v1/agents/helper/versions/1").json()["spec"]
    assert client.post(path, {}, content_type=JSON).json()["version"] == 3, "it is the present spec"
    client.post("/v1/agents/helper/versions/2/activate", {}, content_type=JSON)
    assert client.get("/v1/agents/helper/versions/4").json()["note"] == "Version 2 again"
    McpServer.objects.get().delete()
    assert "cannot be used again" in error_of(client.post(path, {}, content_type=JSON), 409)["message"]
    assert client.get("/v1/agents/helper").json()["version"] == 4


@pytest.mark.both
@pytest.mark.parametrize("method", ["patch", "put"])
def test_a_change_of_an_old_version_is_refused(client, helper, method):
    send = getattr(client, method)
    assert client.get("/v1/agents/helper")["ETag"] == '"2"'
    body = {"name": "helper", "role": "new"}
    for header, extra in (({"If-Match": '"1"'}, {}), ({}, {"version": 1})):
        error = error_of(send("/v1/agents/helper", body | extra, content_type=JSON, headers=header), 409)
        assert error["code"] == "version_conflict"
        assert error["message"] == "The agent 'helper' has version 2 now, not 1: read it again."
    assert Agent.objects.get().role == ""
    error = error_of(send("/v1/agents/helper", body, content_type=JSON, headers={"If-Match": "2"}), 400)
    assert error["param"] == "If-Match"
    response = send("/v1/agents/helper", body | {"version": 2}, content_type=JSON, headers={"If-Match": '"2"'})
    assert (response["ETag"], response.json()["version"], response.json()["role"]) == ('"3"', 3, "new")


def test_a_run_is_started_with_a_version_by_name(client, helper):
    for named, number in (("helper", 2), ("helper@1", 1), ("helper@2", 2)):
        run = client.post(f"/v1/agents/{named}/runs", {"message": "hi"}, content_type=JSON).json()["run_id"]
        answered = client.get(f"/v1/runs/{run}").json()
        assert (answered["agent_name"], answered["agent_version"]) == ("helper", number)
    error = error_of(client.post("/v1/agents/helper@9/runs", {"message": "hi"}, content_type=JSON), 404)
    assert (error["code"], error["message"]) == ("agent_not_found", "The agent 'helper' has no version 9.")


@pytest.mark.parametrize("name", ["helper@", "helper@x", "helper@-1", "helper@1@1", "@1", f"helper@{10**12}"])
def test_what_is_no_number_of_a_version_is_part_of_a_wrong_name(helper, admin_user, name):
    with pytest.raises(AgentNotFound, match="There is no enabled agent"):
        runs.start(runs.NewRun(user=admin_user, message="hi", agent_name=name, trigger="api"))


def test_the_same_idempotency_key_means_the_same_version(client, helper):
    def start(name):
        headers = {"Idempotency-Key": "k"}
        return client.post(f"/v1/agents/{name}/runs", {"message": "hi"}, content_type=JSON, headers=headers)

    first = start("helper@1").json()["run_id"]
    assert start("helper@1").json()["run_id"] == first
    assert error_of(start("helper@2"), 409)["code"] == "idempotency_key_reused"


def test_a_task_is_pinned_to_a_version(client, helper, admin_user):
    created = client.post("/v1/tasks", TASK | {"agent_name": "helper@1"}, content_type=JSON).json()
    path = f"/v1/tasks/{created['id']}"
    assert created["agent_name"] == client.get(path).json()["agent_name"] == "helper@1"
    client.post(f"{path}/run", {}, content_type=JSON)
    client.patch(path, {"agent_name": "helper"}, content_type=JSON)
    assert client.get(path).json()["agent_name"] == "helper"
    client.post(f"{path}/run", {}, content_type=JSON)
    assert list(Run.objects.order_by("created_at").values_list("agent_version__number", flat=True)) == [1, 2]
    error = error_of(client.post("/v1/tasks", TASK | {"agent_name": "helper@7"}, content_type=JSON), 400)
    assert "The agent 'helper' has no version 7." in str(error)
    change = Request(admin_user, None, {"task": created["id"], "agent_name": "helper@1"}, "key")
    assert '"agent_name": "helper@1"' in _act("update_task", change)
    other = Agent.objects.create(name="other")
    task = ScheduledTask.objects.get()
    task.agent = other
    task.clean()
    assert task.agent_version is None


def test_versions_are_no_configuration(client, helper, tmp_path):
    from agents_app.configuration.dumping import dump

    assert "version" not in dump()
    assert AgentVersion.objects.count() == 2

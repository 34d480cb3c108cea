"""A run keeps the version of its agent, whatever happens to the agent and to its worker."""

import datetime

import pytest
from django.utils import timezone

from agents_app import runs
from agents_app.models import Agent, AgentVersion, McpServer, Provider, Run
from agents_app.worker import claims

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


@pytest.fixture
def agent(admin_user):
    provider = Provider.objects.create(name="p", base_url="http://127.0.0.1:9/v1", api_key="old")
    return Agent.objects.create(
        name="helper", provider=provider, model="m", system_prompt="first", approval_required=["note"]
    )


@pytest.fixture
def start(admin_user, agent):
    def start(session="s", agent_name="helper"):
        options = {"session_id": session, "message": "hi", "trigger": "api", "agent_name": agent_name}
        return runs.start(runs.NewRun(user=admin_user, **options)).run

    return start


def change(agent, **fields):
    for name, value in fields.items():
        setattr(agent, name, value)
    agent.save()


def claim(run, worker="one"):
    """Claim the run, and return what the worker executes: version, prompt, tools to approve."""
    (ours,) = claims.claim(worker, 1, only=[run.pk])
    spec = ours.spec
    return ours.run.agent_version.number, spec.system_prompt, spec.approval_required


def waits(run):
    """As an approval parks the run, and its answer queues it again."""
    claim(run)
    Run.objects.filter(pk=run.pk).update(status="waiting", lease_until=None, worker="")
    yield
    Run.objects.filter(pk=run.pk).update(status="queued")


def is_behind_another(run):
    """As it is queued until the run before it in the session has ended."""
    yield
    Run.objects.filter(session=run.session_id, number__lt=run.number).update(status="completed")


def loses_its_worker(run):
    claim(run, "dead")
    yield
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - datetime.timedelta(seconds=1))


@pytest.mark.parametrize("happens", [waits, is_behind_another, loses_its_worker])
def test_a_run_keeps_its_version_while_its_agent_is_edited(start, agent, happens):
    if happens is is_behind_another:
        start()
    run = start()
    event = happens(run)
    next(event)
    change(agent, system_prompt="second", approval_required=[])
    next(event, None)
    assert claim(run, "two") == (1, "first", ("note",))
    assert claim(start("other")) == (2, "second", ())


def test_keys_and_addresses_are_those_of_the_moment(start, agent):
    agent.mcp_servers.add(server := McpServer.objects.create(name="files", command="true"))
    run = start()
    Provider.objects.update(base_url="http://127.0.0.1:8/v1")
    McpServer.objects.update(command="false")
    (ours,) = claims.claim("one", 1)
    assert ours.spec.model.base_url == "http://127.0.0.1:8/v1"
    assert [each.command for each in ours.spec.servers] == ["false"]
    Run.objects.filter(pk=run.pk).update(status="queued")
    agent.mcp_servers.clear()
    server.delete()
    (ours,) = claims.claim("one", 1)
    assert [each.problem for each in ours.spec.servers] == ["The MCP server 'files' was deleted."]


def test_a_run_whose_provider_was_deleted_fails_and_says_so(start, agent):
    run = start()
    change(agent, provider=None)
    Provider.objects.get(name="p").delete()
    (ours,) = claims.claim("one", 1)
    assert (ours.run, ours.denial.code) == (run, "provider_not_found")


def test_a_change_that_changes_nothing_writes_no_version(agent):
    agent.mcp_servers.set([])
    change(agent, enabled=False, access="restricted")
    agent.provider.name = "renamed"
    agent.provider.save()
    change(agent, model="m")
    assert AgentVersion.objects.count() == 1
    agent.mcp_servers.add(McpServer.objects.create(name="files", command="true"))
    agent.refresh_from_db()
    assert agent.current_version.number == 2
    assert agent.current_version.spec["mcp_servers"][0]["name"] == "files"


def test_an_agent_that_was_written_by_other_code_gets_its_version_at_its_first_run(start, agent):
    Agent.objects.bulk_create([Agent(name="bulk", system_prompt="bulk")])
    assert claim(start(agent_name="bulk"))[:2] == (1, "bulk")
    run = start("old")
    Run.objects.update(agent_version=None)
    Agent.objects.update(current_version=None)
    (ours,) = claims.claim("one", 1, only=[run.pk])
    assert ours.spec.system_prompt == "first"


def test_a_deleted_agent_leaves_the_versions_of_its_runs(start, agent):
    run = start()
    agent.delete()
    run.refresh_from_db()
    assert (run.agent, run.agent_version.number, run.agent_version.spec["system_prompt"]) == (None, 1, "first")

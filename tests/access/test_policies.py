"""Security policies: each line of one is enforced, and they are for those who may change what they are about."""

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from agents_app.models import Agent, Budget, FallbackModel, McpServer, Provider
from tests.harness.responses import error_of

ROOT = Path(__file__).parents[2]
# Which test shows that lines of a topic are enforced.
ENFORCED = {
    "users": "tests/access/test_rights_over_time.py::test_claims_and_lists_agree_on_who_may_use_an_agent",
    "model": "tests/runs/test_fallback_models.py::test_each_model_gets_as_much_of_the_session_as_its_own_window_takes",
    "tools": "tests/mcp/test_runs.py::test_patterns_say_which_tools_there_are",
    "approval": "tests/runs/test_approvals.py::test_a_denied_call_is_not_made_and_the_model_reads_why",
    "client_tools": "tests/runs/test_client_tools.py::test_an_agent_declares_tools",
    "internet": "tests/engine/test_fetch_url.py::test_an_agent_reads_no_page_of_this_machine_unless_that_is_allowed",
    "code": "tests/files/test_run_code.py::test_code_has_limits",
    "files": "tests/access/test_isolation.py::test_an_agent_reaches_only_what_its_user_owns",
    "agents": "tests/runs/test_ask_agent.py::test_an_unknown_agent_is_an_error_that_lists_the_agents",
    "tasks": "tests/access/test_isolation.py::test_an_agent_reaches_only_what_its_user_owns",
    "limits": "tests/runs/test_model_faults.py::test_an_agent_that_never_comes_to_an_answer_is_stopped",
    "budget": "tests/runs/test_budgets.py::test_a_run_ends_at_the_turn_that_has_no_room",
    "server": "tests/mcp/test_runs.py::test_a_disabled_server_has_no_tools",
    "sandbox": "tests/engine/test_sandbox.py::test_a_hostile_program_gets_nothing",
    "hosts": "tests/engine/test_sandbox_network.py::test_a_sandbox_reaches_the_hosts_that_it_may",
    "folders": "tests/engine/test_sandbox.py::test_a_hostile_program_gets_nothing",
    "resources": "tests/engine/test_sandbox.py::test_a_hostile_program_gets_nothing",
    "network": "tests/engine/test_metadata_addresses.py::",
    "scope": "tests/mcp/test_scope.py::test_what_a_server_remembers_stays_in_its_scope",
}


@pytest.fixture
def boss(admin_client) -> Client:
    return admin_client


@pytest.fixture
def everything(db, admin_user) -> Agent:
    """An agent with whatever a policy has a line for."""
    main = Provider.objects.create(name="main", base_url="http://main:1/v1", default_model="small")
    other = Provider.objects.create(name="other", base_url="http://other:1/v1", default_model="m")
    local = McpServer.objects.create(
        name="shell",
        command="secret-command",
        allowed_hosts=["example.com"],
        folders=[{"path": "/srv/files", "write": True}, {"path": "/srv/read"}],
        allowed_tools=["r*"],
        denied_tools=["rm"],
        enabled=False,
    )
    remote = McpServer.objects.create(name="far", transport="streamable_http", url="https://far.example.com/mcp")
    agent = Agent.objects.create(
        name="all",
        provider=main,
        model="large",
        builtin_tools=["fetch_url", "run_code", "read_file", "ask_agent", "create_task"],
        client_tools=[{"name": "door", "description": "", "parameters": {"type": "object"}}],
        allowed_tools=["*"],
        denied_tools=["delete_*"],
        approval_required=["run_code"],
        max_total_tokens=5000,
        max_running=2,
        access="restricted",
        owner=admin_user,
    )
    FallbackModel.objects.create(agent=agent, position=0, provider=other, model="")
    agent.mcp_servers.set([local, remote])
    agent.allowed_groups.add(Group.objects.create(name="team"))
    Budget.objects.create(name="house", amount="12.50", period="day")
    return agent


def test_each_line_of_a_policy_is_enforced_by_a_test(boss, everything):
    """A new kind of line fails here until it has a test of its own."""
    response = boss.get("/v1/agents/all/policy").json()
    assert {rule["topic"] for rule in response["rules"]} == set(ENFORCED), "the agent has whatever there are lines for"
    for place in ENFORCED.values():
        file, test = place.split("::")
        assert re.search(rf"^(async )?def {test or 'test_'}", (ROOT / file).read_text(), re.MULTILINE), place


def test_a_policy_says_what_an_agent_may_do(boss, everything):
    rules = boss.get("/v1/agents/all/policy").json()["rules"]
    lines = [rule["text"] for rule in rules if not rule["server"]]
    assert "Administrators and its owner admin and group team may use it." in lines
    assert "If that fails, they are sent to the default model of 'other'." in lines
    assert "It never calls what matches 'delete_*'." in lines
    assert "A person must approve each call of what matches 'run_code', within 86,400 seconds." in lines
    assert "A run ends after 20 turns of the model, 300 seconds of work or 5,000 tokens." in lines
    assert "The budget 'house' stops at 12.5 US dollars a day." in lines
    of_server = boss.get("/v1/mcp-servers/shell/policy").json()
    assert of_server["rules"] == [rule for rule in rules if rule["server"] == "shell"]
    text = " ".join(rule["text"] for rule in of_server["rules"])
    assert "It also sees /srv/files and /srv/read (to read)." in text
    assert "secret-command" not in str(rules) and "far.example.com" not in str(rules)


def test_a_policy_is_for_those_who_may_change_the_agent(everything, settings):
    settings.AUTH_REQUIRED = True
    ann, bob = (User.objects.create_user(name) for name in ("ann", "bob"))
    everything.allowed_users.add(ann, bob)
    Agent.objects.filter(pk=everything.pk).update(owner=ann)
    client = Client()
    client.force_login(bob)
    assert error_of(client.get("/v1/agents/all/policy"), 403)["message"].startswith("Only administrators and its owner")
    assert error_of(client.get("/v1/mcp-servers/shell/policy"), 403)
    client.force_login(ann)
    rules = client.get("/v1/agents/all/policy").json()["rules"]
    assert {rule["topic"] for rule in rules if rule["server"]} == {"server", "sandbox", "scope", "users", "network"}
    assert not any(rule["topic"] == "budget" for rule in rules), "she does not see the server's budget elsewhere"
    everything.allowed_users.clear()
    client.force_login(bob)
    assert error_of(client.get("/v1/agents/all/policy"), 404)

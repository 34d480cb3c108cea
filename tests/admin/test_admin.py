"""The admin: setting up, and reading what happened."""

import json

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from agents_app import event_log
from agents_app.admin import mcp_servers as servers_admin
from agents_app.models import Agent, Event, McpServer, Provider, Run, Session, Step
from agents_app.runs.frames import start_data
from tests.harness.admin import act, address
from tests.harness.fakes.simple_mcp_server import COMMAND

pytestmark = [pytest.mark.django_db, pytest.mark.both]

ROWS = [Provider, McpServer, Agent, Session, Run, Step, Event]


@pytest.fixture
def run(admin_user):
    provider = Provider.objects.create(name="lab", base_url="http://lab/v1", api_key="sk-very-secret")
    agent = Agent.objects.create(name="helper", provider=provider)
    secrets = {"API_KEY": "secret-key", "TOKEN": "${TOKEN}"}
    server = McpServer.objects.create(name="files", command="true", env=secrets, tool_names=["read", "write"])
    agent.mcp_servers.add(server)
    session = Session.objects.create(id="s", owner=admin_user, agent=agent)
    run = Run.objects.create(session=session, number=1, agent=agent, agent_name="helper", prompt="Hello" * 50)
    Step.objects.create(run=run, index=0, iteration=1, kind="thought", content="Hm.", started_at=timezone.now())
    event_log.record("s", run.pk, [start_data(run)])
    return run


def form_of(response):
    """What a browser would send back of a change form."""
    form = response.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    for inline in response.context["inline_admin_formsets"]:
        management = inline.formset.management_form
        values |= {management.add_prefix(name): management[name].value() for name in management.fields}
    return {name: value for name, value in values.items() if value is not None and value is not False}


@pytest.mark.parametrize("model", ROWS)
def test_every_list_can_be_searched_and_opened(admin_client, run, model):
    for query in ("", "?q=helper", "?q=%25'", "?q=7", f"?q={run.pk}"):
        assert admin_client.get(address(model, "changelist") + query).status_code == 200
    page = admin_client.get(address(model, "change", model.objects.first().pk))
    assert page.status_code == 200
    assert b"secret" not in page.content


@pytest.mark.parametrize("model", ROWS)
def test_lists_ask_as_many_queries_for_many_rows_as_for_one(admin_client, run, model, django_assert_max_num_queries):
    sessions = [Session.objects.create(id=f"s-{n}", owner=run.session.owner, agent=run.agent) for n in range(20)]
    for session in sessions:
        other = Run.objects.create(session=session, number=1, agent=run.agent, agent_name="helper", prompt="Hello")
        Step.objects.create(run=other, index=0, iteration=1, kind="thought", started_at=timezone.now())
        event_log.record(session.pk, other.pk, [start_data(other)])
        agent = Agent.objects.create(name=f"agent-{session.pk}", provider=run.agent.provider)
        agent.mcp_servers.add(McpServer.objects.create(name=f"server-{session.pk}", command="true"))
    with django_assert_max_num_queries(14):
        assert admin_client.get(address(model, "changelist")).status_code == 200


@pytest.mark.parametrize("model", [Session, Run, Step, Event])
def test_what_happened_can_only_be_read(admin_client, run, model):
    assert admin_client.get(address(model, "add")).status_code == 403
    assert admin_client.post(address(model, "change", model.objects.first().pk), {}).status_code == 403


def test_the_runs_of_a_session_are_one_click_away(admin_client, run):
    page = admin_client.get(address(Session, "changelist"))
    link = f"{address(Run, 'changelist')}?session__id=s"
    assert link in page.content.decode()
    assert admin_client.get(link).context["cl"].result_count == 1
    assert admin_client.get(f"{address(Run, 'changelist')}?session__id=t").context["cl"].result_count == 0


def test_the_steps_are_on_the_page_of_their_run(admin_client, run):
    assert "Hm." in admin_client.get(address(Run, "change", run.pk)).content.decode()


def test_an_empty_key_keeps_the_stored_one(admin_client, run):
    provider = Provider.objects.get()
    path = address(Provider, "change", provider.pk)
    form = form_of(admin_client.get(path)) | {"default_model": "m-1", "api_key": ""}
    assert admin_client.post(path, form).status_code == 302
    provider.refresh_from_db()
    assert (provider.default_model, provider.api_key) == ("m-1", "sk-very-secret")


def test_a_key_is_replaced_or_removed(admin_client, run):
    provider = Provider.objects.get()
    path = address(Provider, "change", provider.pk)
    form = form_of(admin_client.get(path))
    admin_client.post(path, form | {"api_key": "sk-new"})
    provider.refresh_from_db()
    assert provider.api_key == "sk-new"
    admin_client.post(path, form | {"api_key": "", "remove_api_key": "on"})
    provider.refresh_from_db()
    assert provider.api_key == ""


def test_a_provider_is_added(admin_client):
    form = {
        "name": "lab",
        "kind": "openai",
        "base_url": "http://lab/v1",
        "context_tokens": 8192,
        "first_token_timeout": 30,
        "headers": "",
    }
    assert admin_client.post(address(Provider, "add"), form).status_code == 302
    assert Provider.objects.get().headers == {}


def test_a_provider_without_an_address_is_refused_with_a_sentence(admin_client):
    page = admin_client.post(address(Provider, "add"), {"name": "lab", "kind": "openai", "context_tokens": 8192})
    assert "Enter the address of the server" in page.content.decode()


def test_emptied_tools_are_no_tools(admin_client, run):
    path = address(Agent, "change", run.agent.pk)
    form = form_of(admin_client.get(path)) | {"builtin_tools": ""}
    assert admin_client.post(path, form).status_code == 302
    assert Agent.objects.get().builtin_tools == []


def test_odd_tools_are_refused(admin_client, run):
    path = address(Agent, "change", run.agent.pk)
    for odd in ("[{}]", '"calculate"', "[", '["fly"]'):
        response = admin_client.post(path, form_of(admin_client.get(path)) | {"builtin_tools": odd})
        assert response.context["adminform"].form.errors["builtin_tools"]
    for odd in ("[{}]", '"look"', '[{"name": "two words"}]'):
        response = admin_client.post(path, form_of(admin_client.get(path)) | {"client_tools": odd})
        assert response.context["adminform"].form.errors["client_tools"]


def test_an_agent_is_given_servers_and_patterns(admin_client, run):
    path = address(Agent, "change", run.agent.pk)
    form = form_of(admin_client.get(path)) | {"mcp_servers": [], "approval_required": '["files__write_*"]'}
    assert admin_client.post(path, form).status_code == 302
    agent = Agent.objects.get()
    assert (agent.mcp_servers.count(), agent.approval_required) == (0, ["files__write_*"])
    form |= {"mcp_servers": [McpServer.objects.get().pk], "approval_required": ""}
    assert admin_client.post(path, form).status_code == 302
    agent = Agent.objects.get()
    assert (agent.mcp_servers.count(), agent.approval_required) == (1, [])


def test_secrets_of_a_server_are_masked_and_stars_keep_them(admin_client, run):
    server = McpServer.objects.get()
    path = address(McpServer, "change", server.pk)
    form = form_of(admin_client.get(path))
    assert json.loads(form["env"]) == {"API_KEY": "***", "TOKEN": "${TOKEN}"}
    assert admin_client.post(path, form | {"timeout": 5}).status_code == 302
    server.refresh_from_db()
    assert (server.timeout, server.env) == (5, {"API_KEY": "secret-key", "TOKEN": "${TOKEN}"})
    assert admin_client.post(path, form | {"env": '{"API_KEY": "***", "NEW": "secret-2"}'}).status_code == 302
    server.refresh_from_db()
    assert server.env == {"API_KEY": "secret-key", "NEW": "secret-2"}
    assert admin_client.post(path, form | {"env": ""}).status_code == 302
    server.refresh_from_db()
    assert server.env == {}


def test_a_secret_that_was_typed_is_not_shown_again(admin_client, run):
    path = address(McpServer, "change", McpServer.objects.get().pk)
    form = form_of(admin_client.get(path)) | {"name": "with space", "env": '{"API_KEY": "another-secret"}'}
    page = admin_client.post(path, form)
    assert page.context["adminform"].form.errors["name"]
    assert "secret" not in page.content.decode()


def test_odd_settings_of_a_server_are_refused_with_a_sentence(admin_client, run):
    path = address(McpServer, "change", McpServer.objects.get().pk)
    form = form_of(admin_client.get(path))
    for field, odd in (
        ("env", '{"NEW": "***"}'),
        ("env", '["a"]'),
        ("env", '{"API_KEY": 7}'),
        ("headers", '"a"'),
        ("headers", '{"X Key": "a"}'),
        ("args", '["\\ud800"]'),
        ("args", "7"),
        ("tool_timeouts", '{"a": NaN}'),
        ("allowed_tools", '"*"'),
        ("url", "https://mcp.example"),
        ("command", ""),
    ):
        response = admin_client.post(path, form | {field: odd})
        assert response.context["adminform"].form.errors[field], (field, odd)


def test_a_remote_server_is_added(admin_client):
    form = {
        "name": "remote",
        "transport": "sse",
        "url": "https://mcp.example/sse",
        "headers": '{"Authorization": "Bearer secret"}',
        "timeout": 60,
        "sandbox": "network",
        "scope": "user",
        "enabled": "on",
    }
    response = admin_client.post(address(McpServer, "add"), form)
    assert response.status_code == 302, response.context["adminform"].form.errors
    server = McpServer.objects.get()
    assert (server.headers, server.args, server.tool_timeouts) == ({"Authorization": "Bearer secret"}, [], {})


def test_servers_are_checked_by_an_action(admin_client, monkeypatch):
    monkeypatch.setattr(servers_admin, "CHECK_TIMEOUT", 60)
    good = McpServer.objects.create(name="good", **COMMAND)
    bad = McpServer.objects.create(name="bad", command="/no/such/program")
    page = act(admin_client, McpServer, "check_now", good, bad).content.decode()
    assert "Good: simple 7 answers" in page
    assert "Bad: The MCP server" in page
    good.refresh_from_db()
    assert (good.check_ok, "add" in good.tool_names) == (True, True)
    bad.refresh_from_db()
    assert (bad.check_ok, bad.check_message != "") == (False, True)


def test_a_check_does_not_keep_a_page_waiting(admin_client, monkeypatch):
    monkeypatch.setattr(servers_admin, "CHECK_TIMEOUT", 0.2)
    silent = McpServer.objects.create(name="silent", command="sleep", args=["60"])
    assert "did not answer within 0.2 seconds" in act(admin_client, McpServer, "check_now", silent).content.decode()


def test_the_result_of_a_check_is_forgotten_when_the_command_changes(admin_client, run):
    server = McpServer.objects.get()
    server.record_check(ok=True, message="It answers.", tool_names=["read"])
    path = address(McpServer, "change", server.pk)
    form = form_of(admin_client.get(path))
    admin_client.post(path, form | {"timeout": 5})
    assert McpServer.objects.get().check_ok is True
    admin_client.post(path, form | {"command": "false"})
    assert McpServer.objects.get().check_ok is None


def test_the_mark_of_the_default_is_moved_by_an_action(admin_client, run):
    other = Agent.objects.create(name="other", is_default=True)
    act(admin_client, Agent, "mark_as_default", run.agent)
    assert list(Agent.objects.filter(is_default=True)) == [run.agent]
    act(admin_client, Agent, "mark_as_default", run.agent, other)
    assert list(Agent.objects.filter(is_default=True)) == [run.agent]


def test_runs_are_cancelled_by_an_action(admin_client, run, admin_user):
    page = act(admin_client, Run, "cancel", run)
    assert "Stopped 1 run." in page.content.decode()
    run.refresh_from_db()
    assert (run.status, run.cancelled_by) == ("cancelled", admin_user.username)
    assert "Stopped 0 runs." in act(admin_client, Run, "cancel", run).content.decode()


def test_nothing_that_a_run_still_needs_can_be_deleted(admin_client, run):
    for row in (run.agent, run.session, run.agent.provider, run.agent.mcp_servers.get()):
        path = address(type(row), "delete", row.pk)
        assert admin_client.get(path).context["protected"]
        assert admin_client.post(path, {"post": "yes"}).status_code == 200
        assert type(row).objects.filter(pk=row.pk).exists()


def test_a_session_goes_with_all_that_is_in_it(admin_client, run):
    act(admin_client, Run, "cancel", run)
    assert admin_client.post(address(Session, "delete", "s"), {"post": "yes"}).status_code == 302
    assert not Run.objects.exists()
    assert not Event.objects.exists()


@pytest.mark.parametrize("model", [Provider, McpServer])
def test_who_may_only_look_sees_no_secret(client, run, model):
    user = get_user_model().objects.create_user("somebody", password="long-enough", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename=f"view_{model._meta.model_name}"))
    client.force_login(user)
    page = client.get(address(model, "change", model.objects.get().pk))
    assert page.status_code == 200
    assert "secret" not in page.content.decode()


def test_only_administrators_come_in(client):
    user = get_user_model().objects.create_user("somebody", password="long-enough")
    client.force_login(user)
    assert client.get("/admin/").status_code == 302


def test_the_control_room_and_calls_of_tools_are_for_administrators(client, run):
    """Numbers of everybody's runs; and whatever a tool does."""
    user = get_user_model().objects.create_user("somebody", password="long-enough", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="agents_app"))
    call = reverse("admin:agents_app_mcpserver_call", args=[McpServer.objects.get().pk])
    pages = [reverse("control_room:page"), reverse("control_room:live"), call]
    for page in pages:
        assert client.get(page).status_code == 302
    client.force_login(user)
    for page in pages:
        assert client.get(page).status_code == 403


def test_who_may_only_look_at_runs_does_not_act_on_them(client, run):
    user = get_user_model().objects.create_user("somebody", password="long-enough", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_run"))
    Session.objects.update(owner=user)
    client.force_login(user)
    act(client, Run, "cancel", run)
    page = client.post(reverse("admin:agents_app_run_act", args=[run.pk, "cancel"]), follow=True)
    assert "may look at runs" in page.content.decode()
    assert "Cancel the run" not in page.content.decode()
    run.refresh_from_db()
    assert run.status == "queued"
    assert client.get(reverse("admin:agents_app_run_act", args=[run.pk, "cancel"])).status_code == 405


def test_the_admin_has_the_products_name(admin_client, settings):
    assert admin.site.site_header == settings.PRODUCT_NAME
    assert settings.PRODUCT_NAME in admin_client.get("/admin/").content.decode()
    assert admin_client.get("/admin").status_code == 302

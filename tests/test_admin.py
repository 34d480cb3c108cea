"""The admin: setting up, and reading what happened."""

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone

from agents_app import log
from agents_app.models import Agent, Event, Provider, Run, Session, Step

pytestmark = pytest.mark.django_db

ROWS = [Provider, Agent, Session, Run, Step, Event]


@pytest.fixture
def run(admin_user):
    provider = Provider.objects.create(name="lab", base_url="http://lab/v1", api_key="sk-very-secret")
    agent = Agent.objects.create(name="helper", provider=provider)
    session = Session.objects.create(id="s", owner=admin_user, agent=agent)
    run = Run.objects.create(session=session, number=1, agent=agent, agent_name="helper", prompt="Hello" * 50)
    Step.objects.create(run=run, index=0, iteration=1, kind="thought", content="Hm.", started_at=timezone.now())
    log.record("s", run.pk, [("reasoning_start", {"message": "Hello"})])
    return run


def address(model, page, *arguments):
    return reverse(f"admin:agents_app_{model._meta.model_name}_{page}", args=arguments)


def act(client, model, action, *rows):
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(address(model, "changelist"), data, follow=True)


def form_of(response):
    """What a browser would send back of a change form."""
    form = response.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
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
        log.record(session.pk, other.pk, [("reasoning_start", {})])
        Agent.objects.create(name=f"agent-{session.pk}", provider=run.agent.provider)
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
        "headers": "",
    }
    assert admin_client.post(address(Provider, "add"), form).status_code == 302
    assert Provider.objects.get().headers == {}


def test_a_provider_without_an_address_is_refused_with_a_sentence(admin_client):
    page = admin_client.post(address(Provider, "add"), {"name": "lab", "kind": "openai", "context_tokens": 8192})
    assert "Say where the server is" in page.content.decode()


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
    for row in (run.agent, run.session, run.agent.provider):
        path = address(type(row), "delete", row.pk)
        assert admin_client.get(path).context["protected"]
        assert admin_client.post(path, {"post": "yes"}).status_code == 200
        assert type(row).objects.filter(pk=row.pk).exists()


def test_a_session_goes_with_all_that_is_in_it(admin_client, run):
    act(admin_client, Run, "cancel", run)
    assert admin_client.post(address(Session, "delete", "s"), {"post": "yes"}).status_code == 302
    assert not Run.objects.exists()
    assert not Event.objects.exists()


def test_only_administrators_come_in(client):
    user = get_user_model().objects.create_user("somebody", password="long-enough")
    client.force_login(user)
    assert client.get("/admin/").status_code == 302


def test_the_admin_has_the_products_name(admin_client, settings):
    assert admin.site.site_header == settings.PRODUCT_NAME
    assert settings.PRODUCT_NAME in admin_client.get("/admin/").content.decode()
    assert admin_client.get("/admin").status_code == 302

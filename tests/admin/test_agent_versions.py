"""The page of an agent's versions."""

import datetime

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents_app.models import Agent, Provider, Run, Session

pytestmark = pytest.mark.django_db


@pytest.fixture
def agent(admin_user):
    agent = Agent.objects.create(name="helper", system_prompt="Be kind.\nBe brief.")
    agent.system_prompt = "Be kind.\nBe <b>bold</b>."
    agent.provider = Provider.objects.create(name="lab", base_url="http://lab/v1")
    agent.save()
    return agent


@pytest.fixture
def page(agent):
    return reverse("admin:agents_app_agent_versions", args=[agent.pk])


def test_versions_are_compared(admin_client, agent, page):
    assert page in admin_client.get(reverse("admin:agents_app_agent_change", args=[agent.pk])).content.decode()
    text = admin_client.get(page).content.decode()
    assert "-Be brief.\n+Be &lt;b&gt;bold&lt;/b&gt;." in text
    assert "<h3>provider</h3>" in text and "<h3>model</h3>" not in text
    for query in ("?from=2&to=2", "?from=1&to=99", "?from=x&to=-1", f"?from={10**9}"):
        assert admin_client.get(page + query).status_code == 200
    assert "No difference." in admin_client.get(f"{page}?from=1&to=1").content.decode()


def test_each_version_has_its_runs_and_their_cost(admin_client, agent, admin_user, page):
    session = Session.objects.create(owner=admin_user, agent=agent)
    now = timezone.now()
    versions = {version.number: version for version in agent.versions.all()}
    for number, (version, status, cost) in enumerate([(1, "failed", 0), (1, "completed", 2), (2, "completed", None)]):
        times = {"started_at": now - datetime.timedelta(seconds=3), "finished_at": now}
        Run.objects.create(
            session=session, number=number, agent=agent, agent_name="helper", status=status, cost=cost,
            agent_version=versions[version], **times,
        )  # fmt: skip
    rows = {row.number: row.outcomes for row in admin_client.get(page).context["versions"]}
    assert (rows[1].runs, rows[1].failed, rows[1].cost, rows[1].latency) == (2, 1, 2, "3.0 · 3.0")
    assert (rows[2].runs, rows[2].failed, rows[2].cost) == (1, 0, 0)


def test_an_earlier_version_is_activated(admin_client, agent, page):
    assert "works as in version 1 again" in admin_client.post(page, {"activate": "1"}, follow=True).content.decode()
    agent.refresh_from_db()
    assert (agent.system_prompt, agent.provider, agent.current_version.number) == ("Be kind.\nBe brief.", None, 3)
    assert agent.current_version.created_by.username == "admin"
    Provider.objects.get().delete()
    assert "cannot be used again" in admin_client.post(page, {"activate": "2"}, follow=True).content.decode()
    assert admin_client.post(page, {"activate": "9"}).status_code == 404


def test_a_form_that_changes_prompt_servers_and_fallback_models_writes_one_version(admin_client, agent):
    page = reverse("admin:agents_app_agent_change", args=[agent.pk])
    form = admin_client.get(page).context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    sent = {name: value for name, value in values.items() if value is not None and value is not False}
    server = agent.mcp_servers.model.objects.create(name="files", command="true")
    sent |= {"system_prompt": "New.", "mcp_servers": [server.pk], "enabled": "on"}
    sent |= {"fallback_models-TOTAL_FORMS": 1, "fallback_models-INITIAL_FORMS": 0}
    sent |= {"fallback_models-0-position": 1, "fallback_models-0-model": "small"}
    assert admin_client.post(page, sent).status_code == 302
    agent.refresh_from_db()
    assert (agent.current_version.number, agent.current_version.spec["system_prompt"]) == (3, "New.")
    assert [each["name"] for each in agent.current_version.spec["mcp_servers"]] == ["files"]
    assert [each["model"] for each in agent.current_version.spec["fallback_models"]] == ["small"]


def test_the_page_is_for_administrators(agent, page, django_user_model):
    staff = Client()
    staff.force_login(django_user_model.objects.create_user("ann", is_staff=True))
    assert staff.get(page).status_code == 403

"""The page says plainly when a tiny demonstration model answers."""

import pytest

from agents_app.models import Agent, Provider

pytestmark = pytest.mark.django_db

BANNER = b"tiny demonstration model"


@pytest.fixture
def local(monkeypatch):
    monkeypatch.delenv("LOCAL_MODEL_PATH", raising=False)
    return Provider.objects.create(name="local", kind="local", is_default=True)


def test_the_banner_tells_of_the_demonstration_model(client, local):
    assert BANNER in client.get("/chat/").content


def test_a_model_of_ones_own_needs_no_banner(client, local, monkeypatch):
    monkeypatch.setenv("LOCAL_MODEL_PATH", "/models/good.gguf")
    assert BANNER not in client.get("/chat/").content


def test_a_default_provider_elsewhere_needs_no_banner(client, local):
    local.is_default = False
    local.save()
    Provider.objects.create(name="lab", base_url="http://lab/v1", is_default=True)
    assert BANNER not in client.get("/chat/").content


def test_it_is_the_default_agents_provider_that_counts(client, local):
    lab = Provider.objects.create(name="lab", base_url="http://lab/v1")
    Agent.objects.create(name="assistant", provider=lab, is_default=True)
    assert BANNER not in client.get("/chat/").content


def test_the_page_has_no_inline_script_or_style(client, local):
    page = client.get("/chat/").content.decode()
    assert "<style" not in page
    assert " style=" not in page
    assert "<script>" not in page
    assert " onclick=" not in page


def test_the_address_without_a_slash_leads_to_the_page(client):
    response = client.get("/chat?session=abc")
    assert response.status_code == 302
    assert response.headers["Location"] == "/chat/?session=abc"

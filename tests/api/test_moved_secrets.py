"""A stored secret goes to the address that it was stored with: over REST, in the admin and by YAML files."""

import pytest
from django.urls import reverse

from agents_app.configuration.apply import apply
from agents_app.configuration.parsing import Item
from agents_app.models import McpServer, Provider
from agents_app.models.stored_secrets import origin

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("admin_user")]

JSON = "application/json"
ELSEWHERE = ["https://lab:8080/v1", "http://evil:8080/v1", "http://lab:8081/v1", "http://lab/v1", "http://lab.:8080/v1"]


@pytest.fixture
def provider():
    return Provider.objects.create(
        name="lab", base_url="http://lab:8080/v1", api_key="sk-stored", headers={"api-key": "stored"}
    )


@pytest.fixture
def server():
    headers = {"Authorization": "Bearer stored", "X-Token": "${TOKEN}"}
    return McpServer.objects.create(name="far", transport="sse", url="http://lab:8080/mcp", headers=headers)


def patch(client, path, **body):
    return client.patch(path, body, content_type=JSON)


@pytest.mark.parametrize("base_url", ELSEWHERE)
def test_a_new_address_of_a_provider_clears_its_secrets_and_says_so(client, provider, base_url):
    response = patch(client, "/v1/providers/lab", base_url=base_url)

    assert response.status_code == 200
    assert response.json()["has_api_key"] is False
    assert response.json()["notice"].startswith(
        "Cleared the stored api_key and headers, because scheme, host or port of base_url"
    )
    provider.refresh_from_db()
    assert (provider.api_key, provider.headers) == ("", {})
    assert client.get("/v1/providers/lab").json()["notice"] == ""


@pytest.mark.parametrize("base_url", ["http://lab:8080/v2", "HTTP://LAB:8080/"])
def test_another_path_of_the_same_server_keeps_them(client, provider, base_url):
    response = patch(client, "/v1/providers/lab", base_url=base_url)

    assert (response.json()["has_api_key"], response.json()["notice"]) == (True, "")


def test_the_same_key_sent_again_is_kept(client, provider):
    body = {"name": "lab", "base_url": "http://new/v1", "api_key": "sk-stored", "headers": {"api-key": "stored"}}
    response = client.put("/v1/providers/lab", body, content_type=JSON)

    assert response.json()["notice"] == ""
    provider.refresh_from_db()
    assert (provider.api_key, provider.headers) == ("sk-stored", {"api-key": "stored"})


def test_another_kind_with_another_address_clears_too(client, provider):
    patch(client, "/v1/providers/lab", kind="anthropic", base_url="")

    provider.refresh_from_db()
    assert provider.api_key == ""


def test_a_new_address_of_a_server_clears_its_headers_and_keeps_variables(client, server):
    response = patch(client, "/v1/mcp-servers/far", url="http://evil/mcp")

    assert response.json()["headers"] == {"X-Token": "${TOKEN}"}
    assert response.json()["notice"].startswith("Cleared the stored headers, because scheme, host or port of url")
    server.refresh_from_db()
    assert server.headers == {"X-Token": "${TOKEN}"}


def test_stars_keep_nothing_at_a_new_address(client, server):
    response = patch(client, "/v1/mcp-servers/far", url="http://evil/mcp", headers={"Authorization": "***"})

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "headers"
    assert "url changes" in response.json()["error"]["message"]
    server.refresh_from_db()
    assert server.url == "http://lab:8080/mcp"
    assert patch(client, "/v1/mcp-servers/far", url="http://lab:8080/v2", headers={"Authorization": "***"}).json()
    server.refresh_from_db()
    assert server.headers == {"Authorization": "Bearer stored"}


def test_yaml_clears_too(provider, server):
    items = [
        Item("providers", "lab", {"base_url": "http://evil/v1"}, "a.yaml", 1),
        Item("mcp_servers", "far", {"transport": "sse", "url": "http://evil/mcp"}, "a.yaml", 2),
    ]
    apply(items)

    provider.refresh_from_db()
    server.refresh_from_db()
    assert (provider.base_url, provider.api_key, provider.headers) == ("http://evil/v1", "", {})
    assert (server.url, server.headers) == ("http://evil/mcp", {})


def form_of(page):
    form = page.context["adminform"].form
    return {name: "" if form[name].value() is None else form[name].value() for name in form.fields}


def test_the_form_clears_too_and_says_so(admin_client, provider):
    path = reverse("admin:agents_app_provider_change", args=[provider.pk])
    form = form_of(admin_client.get(path))
    form = {name: value for name, value in form.items() if value is not False} | {"api_key": ""}
    page = admin_client.post(path, form | {"base_url": "http://evil/v1", "headers": "{}"}, follow=True)

    assert "Cleared the stored api_key, because" in page.content.decode()
    provider.refresh_from_db()
    assert (provider.base_url, provider.api_key) == ("http://evil/v1", "")


def test_the_form_of_a_server_wants_its_headers_again(admin_client, server):
    path = reverse("admin:agents_app_mcpserver_change", args=[server.pk])
    form = {name: value for name, value in form_of(admin_client.get(path)).items() if value is not False}
    page = admin_client.post(path, form | {"url": "http://evil/mcp"})

    assert "url changes" in str(page.context["adminform"].form.errors["headers"])
    server.refresh_from_db()
    assert server.url == "http://lab:8080/mcp"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a/x", "http://a:80/y", True),
        ("https://a", "https://a:443/", True),
        ("http://a", "http://a:443", False),
        ("http://${HOST}:${PORT}/x", "http://${HOST}:${PORT}/y", True),
        ("${URL}", "${OTHER}", False),
        ("", "http://a", False),
        ("http://[::1", "http://a", False),
    ],
)
def test_scheme_host_and_port_are_compared(one, other, same):
    assert (origin(one) == origin(other)) is same

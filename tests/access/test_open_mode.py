"""Without sign-in this machine alone is served: shown for each request, and by the settings at the start."""

import re
import urllib.error

import pytest

from agents_app.access import open_mode
from agents_app.network import is_loopback
from tests.access.test_auth import settings_of
from tests.access.test_hardening import manage
from tests.harness.form_client import FormClient
from tests.harness.people import close_code
from tests.harness.product import Product


@pytest.fixture(scope="module")
def open_product(shared_product, tmp_path_factory):
    """A server without sign-in and without a proxy of its own, as a cluster has."""
    if isinstance(shared_product, Product):
        yield shared_product
        return
    with Product(tmp_path_factory.mktemp("open") / "var") as running:
        yield running


PROXIED = [
    {"X-Forwarded-For": "203.0.113.7"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-Proto": "https"},
    {"X-Real-IP": "203.0.113.7"},
    {"Forwarded": "for=203.0.113.7"},
    {"Via": "1.1 proxy"},
    {"CF-Connecting-IP": "203.0.113.7"},
]


@pytest.mark.parametrize("headers", PROXIED, ids=lambda headers: next(iter(headers)))
def test_a_request_that_comes_through_a_proxy_is_refused(open_product, headers):
    command = {"name": "x", "command": "id"}
    status, answer = open_product.request("POST", "/v1/mcp-servers", command, **headers)
    assert (status, answer["error"]["code"]) == (403, "not_this_machine")
    for name in ("AUTH_REQUIRED", "TRUSTED_PROXIES", next(iter(headers)).lower()):
        assert name in answer["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/", "/v1/info", "/chat/", "/admin/", "/metrics", "/mcp", "/nothing", "/static/chat_app/chat/chat.js"]
)
def test_so_it_is_at_every_address(open_product, path):
    method = "POST" if path == "/mcp" else "GET"
    assert open_product.request(method, path, **{"X-Forwarded-For": "203.0.113.7"})[0] == 403


def test_so_it_is_with_sockets_but_not_with_probes(open_product, name):
    headers = {"X-Forwarded-For": "203.0.113.7"}
    assert close_code(open_product.socket_url(name), headers) == 4403
    assert close_code(open_product.socket_url(name), {}) is None
    assert open_product.request("GET", "/healthz", **headers)[0] == 200


@pytest.mark.parametrize(
    ("proxies", "open_to", "forwarded_for", "allowed"),
    [
        (0, [], ["127.0.0.1"], False),
        (1, [], [], False),
        (1, [], ["127.0.0.1"], True),
        (1, [], ["203.0.113.7"], False),
        (1, [], ["127.0.0.1, 203.0.113.7"], False),
        (2, [], ["127.0.0.1"], False),
        (1, ["192.168.1.0/24"], ["192.168.1.9"], True),
        (1, ["192.168.1.0/24"], ["192.168.2.9"], False),
        (1, ["192.168.1.0/24"], ["nobody"], False),
    ],
)
def test_a_trusted_proxy_says_who_asks(settings, proxies, open_to, forwarded_for, allowed):
    settings.TRUSTED_PROXIES, settings.OPEN_TO = proxies, open_to
    assert (open_mode.refusal("127.0.0.1", ["x-forwarded-for"], forwarded_for) is None) == allowed


def test_debug_pages_are_for_this_machine_even_with_sign_in(settings):
    settings.AUTH_REQUIRED, settings.DEBUG = True, True
    assert open_mode.applies()
    settings.DEBUG = False
    assert not open_mode.applies()


# Settings that say that others come

OUTSIDE = [
    {"TRUSTED_PROXIES": "1"},
    {"SECURE_PROXY_SSL_HEADER": "X-Forwarded-Proto"},
    {"HTTPS": "true"},
    {"ALLOWED_HOSTS": "localhost,agents.example.com"},
    {"CSRF_TRUSTED_ORIGINS": "https://agents.example.com"},
    {"CORS_ALLOWED_ORIGINS": "https://app.example.com"},
]


@pytest.mark.parametrize("environment", OUTSIDE, ids=lambda environment: next(iter(environment)))
def test_a_server_that_expects_others_does_not_start_open(tmp_path, environment):
    assert settings_of(tmp_path, "settings.AUTH_REQUIRED", **environment) == "True"
    refused = manage(tmp_path, "check", AUTH_REQUIRED="false", **environment)
    assert refused.returncode == 1
    for word in ("AUTH_REQUIRED=true", "OPEN_TO=", *environment):
        assert word in refused.stderr
    assert "Traceback" not in refused.stderr


def test_open_to_says_that_it_is_meant(tmp_path):
    meant = {"AUTH_REQUIRED": "false", "TRUSTED_PROXIES": "1"}
    assert manage(tmp_path, "check", **meant, OPEN_TO="127.0.0.1").returncode == 0
    refused = manage(tmp_path, "check", **meant, OPEN_TO="everybody")
    assert refused.returncode == 1
    assert "OPEN_TO has 'everybody'" in refused.stderr


def test_debug_does_not_start_where_others_come(tmp_path):
    refused = manage(tmp_path, "check", DEBUG="true", ALLOWED_HOSTS="agents.example.com")
    assert refused.returncode == 1
    assert "agents_app.E003" in refused.stderr


@pytest.mark.parametrize("host", ["localhost", "app.localhost", "127.0.0.1", "[::1]"])
def test_names_of_this_machine_are_no_sign_of_others(host):
    assert is_loopback(host)


# The token of a start


def link_of(product: Product) -> str:
    """The address that the server printed, without its host."""
    return re.findall(r"http://[^/]+(/accounts/start/\?token=\S+)", product.logged())[-1]


def test_the_printed_link_signs_a_browser_in_as_the_administrator(open_product):
    browser = FormClient(open_product)
    assert 'name="password"' in browser.get("/admin/")
    assert "/chat/" in browser.opener.open(open_product.url + link_of(open_product), timeout=30).url
    assert 'name="password"' not in browser.get("/admin/")
    stranger = FormClient(open_product)
    for path in (link_of(open_product) + "x", "/accounts/start/?token=%C3%A9", "/accounts/start/"):
        with pytest.raises(urllib.error.HTTPError, match="403") as caught:
            stranger.get(path)
        assert "This link is out of date" in caught.value.read().decode()
    assert 'name="password"' in stranger.get("/admin/")


def test_where_the_token_is_required_nobody_else_of_this_machine_is_let_in(tmp_path, name):
    with Product(tmp_path / "var", OPEN_TOKEN="required") as product:
        url = product.socket_url(name)
        token = link_of(product).partition("token=")[2]
        assert product.request("GET", "/v1/providers")[0] == 401
        assert close_code(url, {}) == 4401
        assert product.request("GET", "/v1/providers", Authorization=f"Bearer {token}x")[0] == 401
        header = {"Authorization": f"Bearer {token}"}
        assert product.request("GET", "/v1/providers", **header)[0] == 200
        assert close_code(url, header) is None
        browser = FormClient(product)
        browser.get(link_of(product))
        [cookie] = [each for each in browser.cookies if each.name.startswith("sessionid")]
        assert (cookie.name != "sessionid", cookie.discard) == (True, True)  # not every server's, nor for weeks
        assert product.request("GET", "/v1/providers", **browser.header)[0] == 200
        _, made = product.request("POST", "/v1/tokens", {"name": "program"}, **header)
        product.stop()
        product.start()
        for earlier in (header, browser.header):  # the cookie of the link ends with the process too
            assert product.request("GET", "/v1/providers", **earlier)[0] == 401
        assert product.request("GET", "/v1/providers", Authorization=f"Bearer {made['token']}")[0] == 200
        assert "Traceback" not in product.logged()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"OPEN_TOKEN": "yes"}, "OPEN_TOKEN must be 'optional' or 'required', not 'yes'."),
        ({"OPEN_TOKEN": "required", "TRUSTED_PROXIES": "1"}, "OPEN_TOKEN is 'required', which is for a server of this"),
        ({"OPEN_TOKEN": "required", "HOST": "0.0.0.0"}, "OPEN_TOKEN is 'required', which is for a server of this"),
    ],
)
def test_the_token_is_for_a_server_of_this_machine_alone(tmp_path, environment, sentence):
    assert sentence in settings_of(tmp_path, "settings.AUTH_REQUIRED", **environment)


def test_a_server_with_sign_in_has_no_such_link(closed_product):
    assert "/accounts/start/" not in closed_product.logged()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        FormClient(closed_product).get("/accounts/start/?token=")

"""Signing in: who is let in with what, over HTTP, over the socket and in the browser."""

import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.harness import zygote
from tests.harness.form_client import FormClient
from tests.harness.pages.browser import browser
from tests.harness.people import PASSWORD, Person, close_code, invite, shell
from tests.harness.product import Product

FOREIGN = "https://elsewhere.example"


@pytest.fixture
def signed_in(people: dict[str, Person]) -> FormClient:
    browser = FormClient(people["ann"].product)
    status, address, _ = browser.sign_in("ann", next="/chat/")
    assert (status, urllib.parse.urlsplit(address).path) == (200, "/chat/")
    return browser


# HTTP


def test_without_a_token_there_is_nothing(people):
    status, answer = people[""].request("GET", "/v1/sessions")
    assert (status, answer["error"]["type"]) == (401, "authentication_error")
    assert people[""].request("GET", "/v1/info")[0] == people[""].request("GET", "/healthz")[0] == 200
    assert people["ann"].request("GET", "/v1/sessions")[0] == 200


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer aintandem_0", "Bearer a b", "Basic YTpi", "Token x", "Bearer " + "f" * 9000, "\xff"],
)
def test_what_is_no_token_is_a_401(people, header):
    status, answer = people[""].request("GET", "/v1/sessions", Authorization=header)
    assert (status, answer["error"]["type"]) == (401, "authentication_error")


def test_a_cookie_reads_and_drives_only_beside_an_origin_that_is_ours(signed_in, name):
    product, cookie = signed_in.product, signed_in.header
    assert product.request("GET", "/v1/sessions", **cookie)[0] == 200
    assert product.request("POST", "/v1/ws-tickets", **cookie)[0] == 401
    assert product.request("POST", "/v1/ws-tickets", **cookie, Origin=FOREIGN)[0] == 403
    assert product.request("POST", "/v1/ws-tickets", **cookie, Origin="null")[0] == 403
    assert product.request("POST", "/v1/ws-tickets", **cookie, Origin=product.url)[0] == 201


def test_a_form_of_another_site_does_nothing(signed_in):
    product = signed_in.product
    headers = {"Content_Type": "application/x-www-form-urlencoded", "Origin": product.url}
    status, _ = product.request("POST", "/v1/tokens", {"name": "x"}, **signed_in.header, **headers)
    assert status == 415


def test_a_bad_token_is_not_made_good_by_a_cookie(signed_in):
    status, _ = signed_in.product.request("GET", "/v1/sessions", **signed_in.header, Authorization="Bearer aintandem_0")
    assert status == 401


# The socket


def test_the_socket_lets_in_with_a_token(people, name):
    assert people["ann"].close_code(name) is None
    assert people[""].close_code(name) == 4401
    wrong = {"Authorization": "Bearer aintandem_0"}
    assert close_code(people["ann"].product.socket_url(name), wrong) == 4401


def test_the_socket_takes_a_cookie_only_beside_an_origin_that_is_ours(signed_in, name):
    product = signed_in.product
    url = product.socket_url(name)
    assert close_code(url, signed_in.header) == 4401
    assert close_code(url, signed_in.header | {"Origin": FOREIGN}) == 4403
    assert close_code(url, signed_in.header | {"Origin": product.url}) is None
    assert close_code(url, {"Cookie": "sessionid=" + "x" * 32, "Origin": product.url}) == 4401


def test_signing_out_ends_the_session_for_sockets_too(signed_in, name):
    header = signed_in.header | {"Origin": signed_in.product.url}
    page = signed_in.get("/chat/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
    data = urllib.parse.urlencode({"csrfmiddlewaretoken": token}).encode()
    signed_in.opener.open(signed_in.product.url + "/accounts/logout/", data, timeout=30).close()
    assert close_code(signed_in.product.socket_url(name), header) == 4401


# Pages


def test_the_chat_page_leads_to_the_page_to_sign_in_and_back(closed_product):
    with urllib.request.urlopen(closed_product.url + "/chat/?session=abc", timeout=30) as answer:
        assert urllib.parse.urlsplit(answer.url).path == "/accounts/login/"
        assert "next=/chat/%3Fsession%3Dabc" in answer.url
    visitor = FormClient(closed_product)
    _, address, _ = visitor.sign_in("ann", next="https://elsewhere.example/")
    assert address == closed_product.url + "/chat/"


def test_a_wrong_password_is_refused_with_a_sentence(people):
    status, _, page = FormClient(people["ann"].product).sign_in("bob", "wrong")
    assert (status, "Please enter a correct username and password" in page) == (200, True)


def test_the_admin_is_entered_by_the_same_page(closed_product):
    with urllib.request.urlopen(closed_product.url + "/admin/", timeout=30) as answer:
        assert urllib.parse.urlsplit(answer.url).path == "/accounts/login/"


@pytest.mark.slow
def test_somebody_signs_in_and_chats_in_a_browser(people, model, name, chromium_url):
    model.script(name, [[{"text": "Hello, Ann."}]])
    people["boss"].add_agent(name, model.base_url)
    with browser(chromium_url) as open_page:
        page = open_page()
        violations: list[str] = []
        page.on("console", lambda line: "Content Security Policy" in line.text and violations.append(line.text))
        page.goto(people["ann"].product.url + "/chat/")
        page.fill("#id_username", "ann")
        page.fill("#id_password", PASSWORD)
        page.click("button[type=submit]")
        expect(page.locator("#connection")).to_have_attribute("data-state", "connected")
        page.select_option("#agent", name)
        page.fill("#message", "Hi")
        page.press("#message", "Enter")
        expect(page.locator("#transcript")).to_contain_text("Hello, Ann.")
        page.click("#account summary")
        page.click("text=Sign out")
        expect(page.locator("#id_username")).to_be_visible()
        assert violations == []


# What the default is


def settings_of(tmp_path: Path, expression: str, **environment: str) -> str:
    """What a setting is in this environment, or the sentence that stops the start."""
    inherited = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path)}
    script = f"from scheduler_project import settings; print({expression})"
    done = zygote.run([sys.executable, "-c", script], env=inherited | environment)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


DISTRIBUTED = {"DATABASE_URL": "postgresql://x@127.0.0.1/x", "REDIS_URL": "redis://127.0.0.1", "SECRET_KEY": "k" * 60}


@pytest.mark.parametrize(
    ("environment", "required"),
    [
        ({}, "False"),
        ({"HOST": "::1"}, "False"),
        ({"HOST": "0.0.0.0"}, "True"),
        ({"HOST": "agents.example"}, "True"),
        ({"AUTH_REQUIRED": "true"}, "True"),
        (DISTRIBUTED, "True"),
        (DISTRIBUTED | {"AUTH_REQUIRED": "false"}, "False"),
    ],
)
def test_signing_in_is_needed_wherever_others_could_come(tmp_path, environment, required):
    assert settings_of(tmp_path, "settings.AUTH_REQUIRED", **environment) == required


@pytest.mark.slow
@pytest.mark.parametrize(("host", "options"), [("0.0.0.0", []), ("127.0.0.1", ["--host", "0.0.0.0"])])
def test_the_server_refuses_to_serve_others_without_sign_in(tmp_path, host, options):
    product = Product(tmp_path / "var", AUTH_REQUIRED="false", HOST=host)
    command = product.command("serve", "--port", str(product.port), *options)
    done = zygote.run(command, env=product.environment)
    assert done.returncode == 1
    assert "AUTH_REQUIRED=true" in done.stderr


@pytest.mark.django_db
@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", 200), ("::1", 200), ("10.0.0.7", 401)])
def test_in_the_open_mode_only_this_machine_is_the_administrator(client, admin_user, address, status):
    """Whatever the server that runs us listens on: uvicorn and others do not ask HOST."""
    assert client.get("/v1/agents", REMOTE_ADDR=address).status_code == status


@pytest.mark.slow
def test_somebody_who_was_deactivated_is_out(closed_product):
    person = invite(closed_product, "former")["former"]
    assert person.request("GET", "/v1/sessions")[0] == 200
    former = "User.objects.filter(username='former')"
    shell(closed_product, f"from django.contrib.auth.models import User; {former}.update(is_active=False)")
    assert person.request("GET", "/v1/sessions")[0] == 401
    assert person.close_code("any") == 4401

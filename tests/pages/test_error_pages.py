"""What people see, and what programs hear, where something went wrong."""

import urllib.error
import urllib.parse
import urllib.request

import pytest
from django.test import RequestFactory
from playwright.sync_api import expect

from chat_app.pages import errors
from tests.harness.pages.accessibility import expect_accessible

BROWSER = {"Accept": "text/html,application/xhtml+xml", "Accept-Language": "de"}


def fetch(url: str, data: bytes | None = None, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, BROWSER | headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_people_get_pages_in_their_language_and_programs_get_json(closed_product):
    status, page = fetch(closed_product.url + "/nothing/here")
    assert (status, "<h1>Seite nicht gefunden</h1>" in page) == (404, True)
    assert "<nav" not in page  # whoever has not signed in is not shown what they cannot open
    status, answer = closed_product.request("GET", "/nothing/here")
    assert (status, answer["error"]["code"]) == (404, "not_found")


def test_a_form_without_its_proof_is_refused_with_advice(closed_product):
    form = urllib.parse.urlencode({"username": "ann", "password": "x"}).encode()
    form_type = {"Content-Type": "application/x-www-form-urlencoded"}
    status, page = fetch(closed_product.url + "/accounts/login/", form, Origin=closed_product.url, **form_type)
    assert (status, "Dieses Formular ist veraltet" in page) == (403, True)


def fulfilling(body: str):
    return lambda route: route.fulfill(body=body, content_type="text/html")


@pytest.mark.slow
def test_axe_finds_nothing_on_pages_of_failures(product, open_page):
    page = open_page(width=360)
    request = RequestFactory().get("/broken", headers={"Accept": "text/html"})
    failed = errors.server_error(request)
    forbidden = errors.permission_denied(request, PermissionError())
    for path, answer in (("/broken", failed), ("/forbidden", forbidden)):
        page.route(f"**{path}", fulfilling(answer.content.decode()))
    for path, title in (
        ("/nothing", "Page not found"),
        ("/broken", "Something went wrong"),
        ("/forbidden", "You don't have permission"),
    ):
        page.goto(product.url + path)
        expect(page.locator("h1")).to_have_text(title)
        expect_accessible(page)

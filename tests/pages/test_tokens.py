"""The page of API tokens in a real browser, by somebody who has signed in: made, shown once, used, revoked."""

import pytest
from playwright.sync_api import Page, expect

from tests.harness.pages.accessibility import expect_accessible
from tests.harness.people import PASSWORD
from tests.harness.wait import until

pytestmark = pytest.mark.slow


@pytest.fixture
def sign_in(people, open_page):
    def sign_in(name: str, **options) -> Page:
        page = open_page(**options)
        page.goto(f"{people[name].product.url}/accounts/tokens/")
        page.fill("#id_username", name)
        page.fill("#id_password", PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("h1")).to_have_text("API tokens")
        return page

    return sign_in


def test_a_click_before_the_pages_script_is_there_waits_for_it(sign_in, open_page, product, people, name):
    page = sign_in("ann")
    held = []
    page.route("**/tokens*.js", lambda route: held.append(route))
    with page.expect_request("**/tokens*.js"):
        page.reload(wait_until="commit")
    expect(page.get_by_role("button", name="Make a token")).to_be_disabled()
    until(lambda: held or page.wait_for_timeout(10))
    held[0].continue_()
    page.get_by_label("What it is for").fill(name)
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#secret")).to_be_focused()

    chat = open_page()
    chat.route("**/chat*.js", lambda route: held.append(route))
    chat.goto(f"{product.url}/chat/", wait_until="commit")
    expect(chat.get_by_role("button", name="Send")).to_be_disabled()


def test_a_token_is_made_shown_once_used_and_revoked(sign_in, people, name):
    page = sign_in("ann")
    product = people["ann"].product
    expect(page.locator("#tokens tbody tr")).not_to_have_count(0)  # the scripts have run
    page.locator("#account summary").click()
    expect(page.locator("#account summary")).to_have_text("ann")
    expect(page.get_by_role("link", name="API tokens")).to_have_attribute("aria-current", "page")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="API tokens")).to_be_hidden()

    page.get_by_label("What it is for").fill(f"<b>{name}</b>")
    page.get_by_label("Good for").select_option("a year")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#secret")).to_be_focused()
    token = page.locator("#secret").inner_text()
    expect(page.locator("#example")).to_contain_text(f"Bearer {token}")
    line = page.locator("#tokens tbody tr", has_text=f"<b>{name}</b>")
    expect(line).to_contain_text(token[:15])
    expect(line).to_contain_text("never")
    headers = {"Authorization": f"Bearer {token}"}
    assert product.request("GET", "/v1/sessions", **headers)[0] == 200

    page.reload()
    expect(line).not_to_contain_text("never")  # it was used just now, and ends
    assert token not in page.content()
    line.get_by_role("button").click()
    expect(page.get_by_role("dialog")).to_contain_text(name)
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(line).to_have_count(1)
    line.get_by_role("button").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(line).to_have_count(0)
    assert product.request("GET", "/v1/sessions", **headers)[0] == 401


def test_an_error_of_the_server_is_shown(sign_in):
    page = sign_in("ann")
    page.evaluate("document.querySelector('[name=name]').maxLength = 1000")
    page.get_by_label("What it is for").fill("x" * 101)
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#problem")).to_contain_text("100")


def test_axe_finds_nothing_where_tokens_are_made_and_people_sign_in(sign_in, people, open_page):
    page = sign_in("bob", width=360)
    page.get_by_label("What it is for").fill("Reports")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#secret")).to_be_visible()
    page.locator("#account summary").click()
    expect_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360

    visitor = open_page()
    visitor.goto(f"{people['bob'].product.url}/runs/")
    visitor.fill("#id_username", "bob")
    visitor.fill("#id_password", "wrong")
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("alert")).to_be_visible()
    expect(visitor.get_by_role("navigation")).to_have_count(0)
    expect_accessible(visitor)

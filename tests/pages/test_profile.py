"""One's own profile: a password is changed by whoever has it, without an administrator."""

import pytest
from playwright.sync_api import Page, expect

from tests.harness.pages.accessibility import expect_accessible
from tests.harness.people import PASSWORD, invite

pytestmark = pytest.mark.slow
NEW = "staple battery horse correct"


def sign_in(page: Page, url: str, name: str, password: str) -> None:
    page.goto(f"{url}/accounts/login/?next=/accounts/profile/")
    page.fill("[name=username]", name)
    page.fill("[name=password]", password)
    page.click(".sign-in .main")


def change(page: Page, old: str) -> None:
    page.fill("[name=old_password]", old)
    page.fill("[name=new_password1]", NEW)
    page.fill("[name=new_password2]", NEW)
    page.get_by_role("button", name="Change password").click()


def test_a_user_changes_the_own_password(closed_product, open_page, name):
    invite(closed_product, name)
    page = open_page(width=360)
    sign_in(page, closed_product.url, name, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("[name=username]")).to_have_value(name)  # what was typed is kept
    sign_in(page, closed_product.url, name, PASSWORD)
    expect(page.locator("h1")).to_have_text("Profile")
    expect_accessible(page)
    other = open_page()
    sign_in(other, closed_product.url, name, PASSWORD)
    expect(other.locator("h1")).to_have_text("Profile")

    change(page, "not the old one")
    expect(page.locator(".wrong")).to_be_visible()
    change(page, PASSWORD)
    expect(page.get_by_role("status").first).to_have_text("Your password was changed.")
    page.goto(f"{closed_product.url}/nothing/here")
    expect(page.locator("nav a").first).to_have_text("Chat")  # whoever is signed in finds the way back
    other.reload()
    expect(other.locator("h1")).to_have_text("Sign in")
    sign_in(other, closed_product.url, name, NEW)
    expect(other.locator("h1")).to_have_text("Profile")


def test_guesses_at_a_password_have_an_end(closed_product, open_page, name):
    invite(closed_product, name)
    page = open_page()
    sign_in(page, closed_product.url, name, PASSWORD)
    for _ in range(30):
        change(page, "guess")
        if page.get_by_role("alert").count():
            break
    expect(page.get_by_role("alert")).to_contain_text("Too many failed attempts")

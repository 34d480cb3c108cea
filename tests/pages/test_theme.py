"""Light and dark: as the system has it, or as the person chose, on all pages, the admin among them."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

GROUND = "getComputedStyle(document.documentElement).backgroundColor"
LIGHT, DARK = "rgb(247, 247, 245)", "rgb(21, 22, 23)"


def test_a_theme_is_chosen_and_kept(open_page, product):
    page = open_page(color_scheme="dark")
    page.goto(f"{product.url}/runs/")
    assert page.evaluate(GROUND) == DARK
    page.locator("#account summary").click()
    page.get_by_label("Theme").select_option("light")
    assert page.evaluate(GROUND) == LIGHT
    page.goto(f"{product.url}/tasks/")
    assert page.evaluate(GROUND) == LIGHT
    page.goto(f"{product.url}/admin/")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.evaluate("localStorage.theme = 'nonsense'")
    page.goto(f"{product.url}/tasks/")
    assert page.evaluate(GROUND) == DARK
    expect(page.get_by_label("Theme")).to_have_value("auto")

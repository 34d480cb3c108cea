"""The page of models in a real browser: a key is pasted, and the provider that it is for is tested."""

import pytest
from playwright.sync_api import expect

from tests.harness.pages.accessibility import expect_accessible

pytestmark = pytest.mark.slow


def test_a_provider_is_recognised_tested_and_made_the_default(own_product, model, open_page, name):
    model.script(name, [[{"text": "hello"}]])
    page = open_page()
    page.goto(f"{own_product.url}/models/?new=1")
    dialog = page.locator("#provider-dialog")
    key = dialog.get_by_label("API key")
    for text, preset in (("sk-ant-x", "anthropic"), ("gsk_x", "groq"), ("sk-proj-x", "openai")):
        key.fill(text)
        expect(dialog.locator("[name=preset]")).to_have_value(preset)
    expect(dialog.locator("[name=is_default]")).to_be_checked()  # it is the first real one
    dialog.locator("[name=preset]").select_option("other")
    dialog.get_by_label("Base URL").fill("not an address")
    dialog.get_by_role("button", name="Save and test").click()
    expect(dialog.locator("#problem-of-base_url")).to_be_visible()
    expect_accessible(page)
    dialog.get_by_label("Base URL").fill(model.base_url)
    dialog.get_by_role("button", name="Save and test").click()

    card = page.locator('[data-provider="other"]')
    expect(card.locator(".status")).to_contain_text("✓")
    expect(card.locator(".chip")).to_contain_text("Default")
    card.locator("select").select_option(name)
    expect(card.locator(".quiet").first).to_contain_text(name)
    provider = own_product.request("GET", "/v1/providers/other")[1]
    assert (provider["default_model"], provider["has_api_key"], provider["is_default"]) == (name, True, True)
    assert "sk-proj-x" not in page.content()

    card.get_by_role("button", name="Edit").click()
    dialog.get_by_label("Base URL").fill("http://127.0.0.1:9/v1")
    dialog.get_by_role("button", name="Save and test").click()
    expect(card.locator(".status")).to_contain_text("cannot be reached")

"""Approvals in a real browser: asked, the page loaded anew, the server restarted, and then answered."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.harness.crashable import Crashable
from tests.harness.fakes.fake_model_process import tool_results
from tests.harness.pages.chat_page import expect_connected, runs, say, text_of

pytestmark = pytest.mark.slow
LONG = 9_007_199_254_740_993  # a number in JavaScript cannot be it
CAREFUL = {"builtin_tools": ["note"], "approval_required": ["note"]}


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    with Crashable(tmp_path_factory.mktemp("crashable")) as server:
        yield server


@pytest.fixture
def page(agent, open_page, product, name) -> Page:
    """A page on which an agent wants to write a line down."""
    call = {"tool_call": {"name": "note", "arguments": {"line": name, "number": LONG}}}
    who = agent([{"text": "I shall write that down."}, call], [{"text": "Written."}], **CAREFUL)
    page = open_page()
    page.goto(f"{product.url}/chat/")
    expect_connected(page)
    page.select_option("#agent", who)
    say(page, "Write it down.")
    expect(approval(page)).to_have_attribute("data-status", "pending")
    return page


def approval(page: Page):
    return page.locator('.item[data-type="approval"]')


def pinned(page: Page):
    return page.locator("#approvals")


def test_an_approval_survives_a_reload_and_a_restart(page, product, name):
    expect(pinned(page).locator(".label")).to_have_text("Allow note to run?")
    expect(pinned(page)).to_contain_text("expires in")
    assert page.title() == "(1) Chat · AInTandem"
    expect(text_of(page, "tool_use")).to_contain_text(name)
    expect(pinned(page)).to_contain_text(str(LONG))
    expect(pinned(page)).to_be_in_viewport()
    page.reload()
    expect_connected(page)
    expect(approval(page)).to_have_attribute("data-status", "pending")
    product.kill()
    product.start()
    expect_connected(page)
    assert product.effects(name) == []
    page.locator("#scroller").focus()
    page.keyboard.press("a")
    expect(runs(page, "completed")).to_have_count(1)
    expect(pinned(page)).to_be_hidden()
    assert page.title() == "Chat · AInTandem"
    page.click("#exports summary")
    with page.expect_download() as download:
        page.get_by_role("button", name="Markdown").click()
    written = Path(download.value.path()).read_text()
    assert "*note · allowed by" in written
    assert written.count("**Answer**") == 1
    expect(approval(page)).to_have_attribute("data-status", "approved")
    expect(text_of(page, "tool_result")).to_have_text(f"noted {name}")
    assert product.effects(name) == [name]


def test_denied_with_a_reason(page, product, model, name):
    pinned(page).get_by_label("Reason").fill("<b>Not</b> today.")
    pinned(page).get_by_role("button", name="Don't allow").click()
    expect(runs(page, "completed")).to_have_count(1)
    expect(approval(page)).to_have_attribute("data-status", "denied")
    expect(approval(page).locator(".reason")).to_have_text("<b>Not</b> today.")
    assert "<b>Not</b> today." in model.requests(name)[1]["messages"][-1]["content"]
    assert product.effects(name) == []


def test_two_tabs_agree(page):
    other = page.context.new_page()
    other.goto(page.url)
    expect(approval(other)).to_have_attribute("data-status", "pending")
    pinned(other).get_by_role("button", name="Allow for this run").click()
    for tab in (page, other):
        expect(runs(tab, "completed")).to_have_count(1)
        expect(approval(tab)).to_have_attribute("data-status", "approved")


def test_changed_and_then_allowed(page, product, model, name):
    pinned(page).get_by_role("button", name="Edit the arguments").click()
    text = pinned(page).get_by_label("Arguments, as JSON")
    text.fill("[not json")
    pinned(page).get_by_role("button", name="Allow once").click()
    expect(pinned(page).get_by_role("alert")).to_contain_text("not a JSON object")
    text.fill(f'{{"line": "{name} changed", "number": {LONG}}}')
    pinned(page).get_by_role("button", name="Allow once").click()
    expect(runs(page, "completed")).to_have_count(1)
    assert product.effects(name) == [f"{name} changed"]
    expect(text_of(page, "tool_result")).to_contain_text(f"noted {name} changed")
    assert str(LONG) in model.requests(name)[1]["messages"][-1]["content"]


@pytest.mark.parametrize("other", [False, True])
def test_an_agent_asks_a_question(agent, open_page, product, model, name, other):
    asks = {"question": "Which <b>color</b>?", "options": ["red", "blue"], "other": other}
    call = {"tool_call": {"name": "ask_user", "arguments": asks}}
    who = agent([call], [{"text": "Painted."}], builtin_tools=["ask_user"])
    page = open_page()
    page.goto(f"{product.url}/chat/")
    expect_connected(page)
    page.select_option("#agent", who)
    say(page, "Paint it.")
    expect(pinned(page).locator(".label")).to_have_text("Which <b>color</b>?")
    assert page.title() == "(1) Chat · AInTandem"
    page.reload()
    expect(pinned(page).locator(".label")).to_have_text("Which <b>color</b>?")
    answer = pinned(page).get_by_label("Your answer")
    if other:
        answer.fill("green")
        answer.press("Enter")
    else:
        expect(answer).to_have_count(0)
        pinned(page).get_by_role("button", name="blue").click()
    expect(runs(page, "completed")).to_have_count(1)
    expect(pinned(page)).to_be_hidden()
    expect(approval(page).locator(".label")).to_contain_text("green" if other else "blue")
    assert model.requests(name)[1]["messages"][-1]["content"] == ("green" if other else "blue")


def test_a_call_of_the_calling_program_is_answered_by_hand(agent, open_page, product, model, name):
    call = {"tool_call": {"name": "get_weather", "arguments": {"city": "Bern"}}}
    tools = [{"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]
    who = agent([call], [{"text": "It rains."}], client_tools=tools)
    page = open_page()
    page.goto(f"{product.url}/chat/")
    expect_connected(page)
    page.select_option("#agent", who)
    say(page, "How is the weather?")
    expect(pinned(page).locator(".label")).to_have_text("get_weather · waiting for the calling program")
    expect(pinned(page)).to_contain_text("Bern")
    pinned(page).get_by_label("Result (text or JSON)").fill('{"rain": true}')
    pinned(page).get_by_role("button", name="Send result").click()
    expect(runs(page, "completed")).to_have_count(1)
    expect(approval(page).locator(".label")).to_have_text("get_weather · result from admin")
    assert tool_results(model.requests(name)[-1]) == ['{"rain": true}']

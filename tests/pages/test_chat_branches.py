"""Edit an earlier message, regenerate, flip between versions, and fork: in two tabs of a real browser."""

import pytest
from playwright.sync_api import Page, expect

from tests.harness.pages.chat_page import expect_connected, runs, say

pytestmark = pytest.mark.slow


def said(page: Page, *texts: str) -> None:
    expect(page.locator(".run:visible .said")).to_have_text(list(texts))


def act(page: Page, number: int, name: str) -> None:
    """Press a button of the message of that place."""
    section = page.locator(".run:visible").nth(number)
    section.hover()
    section.get_by_role("button", name=name).click()


def test_versions_and_forks_are_the_same_in_all_tabs_and_after_a_reload(agent, chat, open_page):
    page = chat(agent([{"echo": True}]))
    for text in ("One", "Two", "Three"):
        say(page, text)
        expect(runs(page, "completed").last).to_contain_text(text)
    said(page, "One", "Two", "Three")
    other = open_page()
    other.goto(page.url)
    act(page, 1, "Edit")
    field = page.get_by_role("textbox", name="Message").first
    expect(field).to_have_value("Two")
    field.fill("Zwei")
    field.press("Enter")
    for each in (page, other):
        said(each, "One", "Zwei")
    act(other, 1, "Regenerate")
    for each in (page, other):
        expect(each.locator(".versions:visible")).to_contain_text("3/3")
    act(page, 1, "Next version")
    for each in (page, other):
        said(each, "One", "Two", "Three")
    page.reload()
    expect_connected(page)
    said(page, "One", "Two", "Three")
    expect(page.locator(".versions:visible")).to_contain_text("1/3")
    address = page.url
    act(page, 0, "Fork")
    page.wait_for_url(lambda url: url != address)
    expect_connected(page)
    said(page, "One")
    say(page, "Anders")
    said(page, "One", "Anders")
    said(other, "One", "Two", "Three")


def test_a_running_answer_is_steered_from_any_tab(agent, chat, open_page, model, name):
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "1 + 1"}}}
    first = {
        "only_first": 1,
        "do": [{"text": "Let me see. "}, {"wait": name}, call, {"finish": "tool_calls"}, {"end": True}],
    }
    page = chat(agent([first, {"text": "Done."}], builtin_tools=["calculate"]))
    expect(page.get_by_role("button", name="Send now")).to_be_hidden()
    say(page, "Go")
    expect(page.locator(".run")).to_contain_text("Let me see.")
    page.fill("#message", "In French")
    page.get_by_role("button", name="Send now").click()
    waiting = '.item[data-type="steered"][data-status="pending"]'
    expect(page.locator(waiting)).to_contain_text("In French")
    other = open_page()
    other.goto(page.url)
    expect(other.locator(waiting)).to_contain_text("In French")
    page.reload()
    expect(page.locator(waiting)).to_contain_text("In French")
    model.release(name)
    for each in (page, other):
        expect(runs(each, "completed")).to_have_count(1)
        expect(each.locator('.item[data-type="steered"][data-status="finished"]')).to_contain_text("In French")
    expect(page.get_by_role("button", name="Send now")).to_be_hidden()

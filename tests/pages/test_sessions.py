"""The sessions at the side of the chat page, in a real browser on a real server."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.harness.pages.chat_page import expect_connected, runs, say

pytestmark = pytest.mark.slow


@pytest.fixture
def open_chat_page(product, open_page):
    def open_at(session: str, **options) -> Page:
        page = open_page(**options)
        page.goto(f"{product.url}/chat/?session={session}")
        expect_connected(page)
        return page

    return open_at


@pytest.fixture
def talked(product, agent, name, open_chat):
    """Sessions in which the agent has answered, by their title, oldest first; gives the function to make one."""
    who = agent([{"text": f"An **Envoy** of {name[::-1]}."}])

    def talk(title: str, **payload) -> str:
        session = f"{name}-{title.lower().replace(' ', '-')}"
        open_chat(session).ask(title, agent_name=who, **payload)
        return session

    return talk


def lines(page: Page) -> Locator:
    return page.locator("#sessions .session")


def search(page: Page, words: str) -> None:
    page.fill("#session-search", words)


def test_newest_first_and_the_open_one_marked(talked, open_chat_page, name):
    talked(f"{name} apples")
    pears = talked(f"{name} pears")
    page = open_chat_page(pears)
    search(page, name)

    expect(lines(page)).to_have_text([f"{name} pears✎✕", f"{name} apples✎✕"])
    expect(page.locator("#sessions .group-name")).to_have_text("Today")
    expect(page.locator("#sessions [aria-current=page]")).to_have_text(f"{name} pears")
    lines(page).nth(1).locator("a").click()
    expect_connected(page)
    expect(page.locator(".said")).to_have_text(f"{name} apples")


def test_the_search_looks_into_titles_messages_and_answers(talked, open_chat_page, product, name):
    session = talked(f"{name} apples")
    product.request("PATCH", f"/v1/sessions/{session}", {"title": f"Fruit of {name}"})
    talked(f"{name} pears")
    page = open_chat_page(session)

    search(page, f"{name} APPLES")
    expect(lines(page).locator("a")).to_have_text([f"Fruit of {name}"])
    search(page, f"fruit of {name}")
    expect(lines(page).locator("a")).to_have_text([f"Fruit of {name}"])
    search(page, f"envoy** of {name[::-1]}")
    expect(lines(page)).to_have_count(2)
    search(page, f"{name} cherries")
    expect(page.locator("#no-sessions")).to_be_visible()


def test_a_session_is_renamed_with_the_keyboard(talked, open_chat_page, product, name):
    session = talked(f"{name} apples")
    talked(f"{name} plums")
    page = open_chat_page(session)
    search(page, name)
    expect(lines(page)).to_have_count(2)
    page.get_by_role("button", name=f"Rename {name} apples").focus()
    page.keyboard.press("Enter")
    page.keyboard.type(f"{name} <b>pears</b>")
    page.keyboard.press("Enter")

    expect(lines(page).locator("a")).to_have_text([f"{name} plums", f"{name} <b>pears</b>"])  # in its place
    expect(lines(page).locator("a").last).to_be_focused()
    assert product.request("GET", f"/v1/sessions/{session}")[1]["title"] == f"{name} <b>pears</b>"


def test_escape_keeps_the_old_title(talked, open_chat_page, product, name):
    session = talked(f"{name} apples")
    page = open_chat_page(session)
    search(page, name)
    expect(lines(page)).to_have_count(1)
    page.get_by_role("button", name=f"Rename {name} apples").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("no")
    page.keyboard.press("Escape")

    expect(lines(page).locator("a")).to_have_text([f"{name} apples"])
    assert product.request("GET", f"/v1/sessions/{session}")[1]["title"] == f"{name} apples"


def test_deleting_asks_first(talked, open_chat_page, product, name):
    session = talked(f"{name} apples")
    page = open_chat_page(session)
    search(page, name)
    expect(lines(page)).to_have_count(1)
    lines(page).hover()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"{name} apples")
    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_role("dialog")).to_be_hidden()
    assert product.request("GET", f"/v1/sessions/{session}")[0] == 200


def test_deleting_the_open_one_begins_a_new_chat(talked, open_chat_page, product, name):
    session = talked(f"{name} apples")
    page = open_chat_page(session)
    search(page, name)
    expect(lines(page)).to_have_count(1)
    lines(page).hover()
    page.get_by_role("button", name=f"Delete {name} apples").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()

    page.wait_for_url(lambda url: session not in url and "session=" in url)
    expect(page.locator("#empty")).to_be_visible()
    assert product.request("GET", f"/v1/sessions/{session}")[0] == 404


def test_an_unfinished_run_is_marked_and_keeps_its_session(open_chat_page, agent, model, product, name):
    who = agent([{"text": "Well, "}, {"wait": name}, {"text": "yes."}])
    page = open_chat_page(name)
    page.select_option("#agent", who)
    say(page, f"{name} apples")
    search(page, name)
    expect(lines(page).locator(".busy")).to_have_count(1)
    expect(lines(page)).to_have_count(1)
    lines(page).hover()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#problem")).to_contain_text("unfinished run")

    model.release(name)
    expect(runs(page, "completed")).to_have_count(1)
    expect(lines(page).locator(".busy")).to_have_count(0)
    expect(lines(page)).to_have_count(1)


def test_sessions_of_other_agents_are_shown_on_request(open_chat_page, product, model, agent, name):
    model.script(helper := f"{name}-helper", [[{"text": "Helped."}]])
    product.add_agent(helper, model.base_url)
    ask = {"tool_call": {"name": "ask_agent", "arguments": {"agent": helper, "message": f"{name} child"}}}
    who = agent([ask], [{"text": "Done."}], builtin_tools=["ask_agent"])
    page = open_chat_page(name)
    page.select_option("#agent", who)
    say(page, f"{name} parent")
    expect(runs(page, "completed")).to_have_count(1)

    search(page, name)
    expect(lines(page).locator("a")).to_have_text([f"{name} parent"])
    page.check("#all-sessions")
    expect(lines(page)).to_have_count(2)


def test_a_long_list_comes_in_pages(open_chat_page, talked, name):
    last = ""
    for number in range(42):
        last = talked(f"{name} {number:02}")
    talked("Something else")  # the newest, and not among what is found
    page = open_chat_page(last)
    expect(lines(page).first).to_contain_text("Something else")
    search(page, name)
    expect(lines(page).first).not_to_contain_text("Something else")
    expect(lines(page)).to_have_count(40)
    page.click("#more-sessions")

    expect(lines(page)).to_have_count(42)
    expect(page.locator("#more-sessions")).to_be_hidden()


def test_on_a_phone_they_are_in_a_drawer(open_chat_page, talked, name):
    session = talked(f"{name} apples")
    page = open_chat_page(session, width=360, height=640)
    expect(page.locator("#side")).to_be_hidden()
    page.click("#side-toggle")
    expect(page.locator("#side")).to_be_visible()
    expect(page.locator("#new-chat")).to_be_focused()
    expect(page.locator("#talk")).to_have_js_property("inert", True)
    page.keyboard.press("Escape")

    expect(page.locator("#side")).to_be_hidden()
    expect(page.locator("#side-toggle")).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") == 360

"""The chat page loses nothing: networks that are cut or silent, tabs that are suspended, slow lines, two tabs."""

import pytest
from playwright.sync_api import Page, expect

from tests.harness.pages.chat_page import expect_connected, runs, say, text_of, words
from tests.harness.relay import Relay

pytestmark = pytest.mark.slow
COUNTED = " ".join(f"word{number}" for number in range(300))


@pytest.fixture
def relay(product):
    with Relay(product.port) as wire:
        yield wire


@pytest.fixture
def chat_over(relay, open_page):
    """A function that opens a new chat through the wire."""

    def open_at(agent: str) -> Page:
        page = open_page()
        page.goto(f"{relay.url}/chat/")
        expect_connected(page)
        page.select_option("#agent", agent)
        return page

    return open_at


def expect_each_word_once(page: Page) -> None:
    expect(text_of(page, "final_answer").first).to_have_text(COUNTED)


def second_tab(page: Page) -> Page:
    tab = page.context.new_page()
    tab.goto(page.url)
    expect_connected(tab)
    return tab


def test_a_cut_network_loses_nothing_and_doubles_nothing(agent, chat_over, relay, model, name):
    page = chat_over(agent([{"text": COUNTED[:1000]}, {"wait": name}, {"text": COUNTED[1000:]}]))
    say(page, "Count.")
    expect(text_of(page, "final_answer")).to_contain_text("word100")
    relay.cut()
    expect(page.locator("#connection")).to_have_attribute("data-state", "waiting")
    expect(page.locator("#connection-words")).to_contain_text("Reconnecting in")
    say(page, "And once more.")
    expect(page.locator("#outbox")).to_contain_text("Offline – will be sent when you reconnect")
    model.release(name)
    relay.mend()
    page.locator("#connect-now").evaluate("(now) => now.hidden || now.click()")  # it may have come back by itself

    expect(runs(page, "completed")).to_have_count(2)
    expect_each_word_once(page)
    expect(page.locator(".said")).to_have_text(["Count.", "And once more."])
    other = second_tab(page)
    expect(runs(other, "completed")).to_have_count(2)
    assert words(other) == words(page)


def test_a_silent_network_is_noticed_when_the_browser_hears_of_a_change(agent, chat_over, relay, model, name):
    page = chat_over(agent([{"text": COUNTED[:1000]}, {"wait": name}, {"text": COUNTED[1000:]}]))
    say(page, "Count.")
    expect(text_of(page, "final_answer")).to_contain_text("word100")
    relay.hush()
    model.release(name)
    say(page, "Said into the void.")
    page.evaluate("dispatchEvent(new Event('online'))")  # what a browser says when it has changed the network

    expect(runs(page, "completed")).to_have_count(2)
    expect_each_word_once(page)
    expect(page.locator(".said")).to_have_text(["Count.", "Said into the void."])
    expect(page.locator("#outbox .run")).to_have_count(0)


def test_a_suspended_tab_catches_up(agent, chat, model, name, product):
    page = chat(agent([{"text": COUNTED[:1000]}, {"wait": name}, {"text": COUNTED[1000:]}]), is_new=True)
    say(page, "Count.")
    expect(text_of(page, "final_answer")).to_contain_text("word100")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    model.release(name)
    other = second_tab(page)
    expect(runs(other, "completed")).to_have_count(1)
    devtools.send("Page.setWebLifecycleState", {"state": "active"})

    expect(runs(page, "completed")).to_have_count(1)
    expect_each_word_once(page)
    assert words(other) == words(page)


def test_a_slow_line_shows_all_of_it_and_a_reload_in_the_middle_too(agent, open_page, product, model, name):
    who = agent([{"text": COUNTED[:1000]}, {"wait": name}, {"text": COUNTED[1000:]}])
    page = open_page(is_new=True)
    slow = {"offline": False, "latency": 300, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    page.goto(f"{product.url}/chat/", timeout=60_000)
    expect_connected(page)
    page.locator("#agent:enabled").select_option(who)
    say(page, "Count.")
    expect(text_of(page, "final_answer")).to_contain_text("word100")
    page.reload(timeout=60_000)
    expect(text_of(page, "final_answer")).to_contain_text("word100")
    expect(runs(page, "running")).to_have_count(1)
    model.release(name)

    expect(runs(page, "completed")).to_have_count(1)
    expect_each_word_once(page)

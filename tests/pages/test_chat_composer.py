"""Writing, asking again, copying, exporting: the chat page in a real browser."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.harness.pages.chat_page import CALCULATION, copy_with, expect_connected, runs, say, text_of
from tests.harness.people import add_crowd

pytestmark = pytest.mark.slow


def test_any_agent_can_be_chosen_however_many_there_are(agent, chat, product, name):
    first = agent([{"text": "Yes."}])
    add_crowd(product, name, 201)  # one more than a page of the list holds
    for one in (first, f"{name}-99"):  # the first and the last by name
        assert chat(one).locator("#agent").input_value() == one


def test_escape_stops_the_agent(agent, chat, model):
    name = agent([{"text": "For ever and "}, {"wait": "never"}])
    page = chat(name)
    say(page, "Go on.")
    expect(text_of(page, "final_answer")).to_have_text("For ever and ")
    page.keyboard.press("Escape")

    expect(runs(page, "cancelled")).to_have_count(1)
    assert model.wait_for_abort(name)


def test_escape_leaves_the_message_that_waits_behind(agent, chat, model, name):
    page = chat(agent([{"only_first": 1, "do": [{"text": "For ever "}, {"wait": "never"}]}, {"text": "Next."}]))
    say(page, "First")
    expect(text_of(page, "final_answer")).to_have_text("For ever")
    say(page, "Second")
    expect(page.locator("#outbox")).to_contain_text("Second")
    page.keyboard.press("Escape")

    expect(runs(page, "cancelled")).to_have_count(1)
    expect(runs(page, "completed")).to_contain_text("Second")


def test_a_new_chat_keeps_the_agent_and_a_link_may_name_one(agent, chat, open_page, product):
    page = chat(who := agent([{"text": "Yes."}]))
    page.click("#new-chat")
    expect_connected(page)
    expect(page.locator("#agent")).to_have_value(who)
    other = open_page()
    other.goto(f"{product.url}/chat/?agent={who}")
    expect(other.locator("#agent:enabled")).to_have_value(who)
    assert "agent=" not in other.url


def test_the_agent_of_a_link_answers_before_the_list_of_agents_is_there(agent, open_page, product):
    who, page, held = agent([{"text": "Yes."}]), open_page(), []
    page.route("**/v1/agents*", lambda route: held.append(route), times=1)  # the list may have more pages
    page.goto(f"{product.url}/chat/?agent={who}")
    expect_connected(page)
    say(page, "Who are you?")
    expect(runs(page, "completed")).to_contain_text(who)
    held[0].continue_()
    expect(page.locator("#agent:enabled")).to_have_value(who)


def test_arrow_up_takes_up_the_last_message_in_an_empty_field_only(agent, chat):
    page = chat(agent([{"text": "Yes."}]))
    say(page, "First")
    expect(runs(page, "completed")).to_have_count(1)
    page.fill("#message", "Second")
    page.press("#message", "ArrowUp")
    expect(page.locator("#message")).to_have_value("Second")
    page.fill("#message", "")
    page.press("#message", "ArrowUp")
    expect(page.locator("#message")).to_have_value("First")
    page.keyboard.type(", changed")
    page.keyboard.press("Enter")

    expect(page.locator(".said")).to_have_text(["First", "First, changed"])


def test_the_enter_that_ends_a_composition_sends_nothing(agent, chat):
    page = chat(agent([{"text": "Yes."}]))
    page.fill("#message", "日本")
    for of_composition in ({"isComposing": True}, {"keyCode": 229}):
        page.dispatch_event(
            "#message", "keydown", {"key": "Enter", "bubbles": True, "cancelable": True} | of_composition
        )
    page.press("#message", "End")
    page.keyboard.type("語")
    page.keyboard.press("Enter")

    expect(page.locator(".said")).to_have_text(["日本語"])


def test_a_message_is_asked_again(agent, chat, model):
    who = agent([{"text": "Yes."}])
    page = chat(who)
    say(page, "Are you sure?")
    expect(runs(page, "completed")).to_have_count(1)
    page.select_option("#agent", "assistant")
    expect(page.get_by_role("button", name="Ask again")).to_have_css("opacity", "0")
    page.locator(".said").hover()
    page.get_by_role("button", name="Ask again").click()

    expect(runs(page, "completed")).to_have_count(2)
    expect(page.locator(".said")).to_have_text(["Are you sure?", "Are you sure?"])
    assert len(model.requests(who)) == 2


def test_an_answer_is_copied_as_it_was_written(agent, chat, product):
    page = chat(agent([{"text": "It is **84**."}]))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=product.url)
    say(page, "Well?")
    expect(text_of(page, "final_answer").locator("strong")).to_have_text("84")
    assert copy_with(page, page.locator(".item .copy")) == "It is **84**."


def test_a_message_shows_its_code_and_is_copied_as_it_was_written(agent, chat, product):
    page = chat(agent([{"text": "Yes."}]))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=product.url)
    message = "Is **this** right?\n```python\nx = '<b>'\n```\nOr not?"
    page.fill("#message", message)
    page.click("#send")
    expect(runs(page, "completed")).to_have_count(1)

    bubble = page.locator(".said")
    expect(bubble.locator(".language")).to_have_text("python")
    expect(bubble.locator("pre code")).to_have_text("x = '<b>'\n")
    expect(bubble).to_contain_text("Is **this** right?")
    bubble.hover()
    assert copy_with(page, page.locator(".actions .copy")) == message


def export(page: Page, kind: str) -> str:
    page.click("#exports summary")
    with page.expect_download() as waiting:
        page.get_by_role("button", name=kind).click()
    assert (
        waiting.value.suggested_filename
        == page.locator("#sessions [aria-current]").text_content().translate({ord("?"): None}).strip()
        + {"Markdown": ".md", "JSON": ".json"}[kind]
    )
    return Path(waiting.value.path()).read_text()


def test_a_session_is_exported(agent, chat):
    page = chat(agent(CALCULATION, [{"text": "It is **84**.\n\n```\nfence\n```"}], builtin_tools=["calculate"]))
    assert page.locator("#exports").is_hidden()
    say(page, "What is\n12 × (3 + 4)?")
    expect(runs(page, "completed")).to_have_count(1)

    written = export(page, "Markdown")
    assert written.startswith("# What is 12 × (3 + 4)?\n")
    assert "> What is\n> 12 × (3 + 4)?" in written
    assert '```json\n{\n  "expression": "12 * (3 + 4)"\n}\n```' in written
    assert "**Result of calculate**\n\n```\n84\n```" in written
    assert written.endswith("It is **84**.\n\n```\nfence\n```\n")
    payload = json.loads(export(page, "JSON"))
    (run,) = payload["runs"]
    assert run["message"] == "What is\n12 × (3 + 4)?"
    assert [item["type"] for item in run["items"]] == ["thought", "tool_use", "tool_result", "final_answer"]
    assert run["items"][1]["arguments"] == {"expression": "12 * (3 + 4)"}
    assert run["usage"]["tool_calls"] == 1


def test_an_exported_answer_fetches_nothing_when_it_is_opened_elsewhere(agent, chat):
    page = chat(
        agent([{"text": "![a](http://evil.test/a.png) <img src=http://evil.test/b.png>\n\n```\n![code](x)\n```"}])
    )
    say(page, "Well?")
    expect(runs(page, "completed")).to_have_count(1)

    written = export(page, "Markdown")
    assert "\\![a](http://evil.test/a.png) &lt;img src=http://evil.test/b.png>" in written
    assert "```\n![code](x)\n```" in written


def test_an_empty_chat_proposes_three_things_to_say(chat, agent, open_page, product):
    page = open_page()
    page.goto(f"{product.url}/chat/")
    expect_connected(page)
    expect(page.locator(".examples button")).to_have_count(3)
    expect(page.locator("#agent")).to_be_enabled()
    example = page.locator(".examples button").nth(1)
    message = example.get_attribute("data-message")
    example.click()

    expect(page.locator(".said")).to_have_text(message)
    expect(page.locator("#agent")).to_have_value("writer")
    expect(page.locator("#empty")).to_be_hidden()
    expect(page.locator(".run[data-run]")).to_have_count(1)
    page.locator("#stop").evaluate("(stop) => stop.click()")  # a quick model may have answered already
    expect(page.locator(".run")).to_have_attribute("data-status", re.compile("cancelled|completed"))


def test_a_new_answer_is_announced_to_screen_readers_once_and_whole(agent, chat):
    page = chat(agent([{"text": "It is 84.", "chunk": 2}]))
    page.evaluate("""() => {
        window.said = [];
        const announcer = document.getElementById("announcer");
        new MutationObserver(() => said.push(announcer.textContent)).observe(announcer, { childList: true });
    }""")
    say(page, "Well?")
    expect(runs(page, "completed")).to_have_count(1)
    assert page.evaluate("said") == ["Answer: It is 84."]

    page.reload()
    expect(runs(page, "completed")).to_have_count(1)
    expect(page.locator("#announcer")).to_have_text("")

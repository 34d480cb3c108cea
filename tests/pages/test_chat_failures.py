"""Failures on the chat page say what to do, and lead administrators to the place where it is done."""

import sys

import pytest
from playwright.sync_api import Page, expect

from tests.harness.pages.chat_page import CALCULATION, expect_connected, runs, say
from tests.harness.people import PASSWORD

pytestmark = pytest.mark.slow


def expect_advice(page: Page, kind: str, words: str, place: str) -> None:
    advice = page.locator(f'.item[data-type="{kind}"] .advice')
    expect(advice).to_contain_text(words)
    expect(advice.locator("a")).to_have_attribute("href", f"/{place}/")


def test_a_refused_key_leads_to_the_providers(agent, chat):
    page = chat(agent([{"status": 401}]))
    say(page, "Hello?")
    expect_advice(page, "error", "Check the provider's API key", "models")
    page.reload()
    expect_advice(page, "error", "Check the provider's API key", "models")
    expect(page.locator(".advice")).to_have_count(1)


def test_tools_that_are_down_are_a_warning_and_the_answer_comes(agent, chat, product, name):
    command = {"command": sys.executable, "args": ["-c", "raise SystemExit(1)"]}
    assert product.request("POST", "/v1/mcp-servers", {"name": name, "transport": "stdio", **command})[0] == 201
    page = chat(agent([{"text": "Without tools, then."}], mcp_servers=[name]))
    say(page, "Hello?")
    expect_advice(page, "warning", "goes on without these tools", "tools")
    expect(runs(page, "completed")).to_have_count(1)
    product.request("PATCH", f"/v1/agents/{name}", {"mcp_servers": []})
    product.request("DELETE", f"/v1/mcp-servers/{name}")


def test_who_is_no_administrator_is_told_without_the_way(people, model, name, open_page):
    model.script(name, [[{"status": 401}]])
    people["boss"].add_agent(name, model.base_url)
    page = open_page()
    page.goto(f"{people['ann'].product.url}/chat/")
    page.fill("#id_username", "ann")
    page.fill("#id_password", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect_connected(page)
    page.select_option("#agent", name)
    say(page, "Hello?")
    expect(page.locator(".advice")).to_contain_text("API key")
    expect(page.locator(".advice a")).to_have_count(0)
    expect(page.get_by_role("link", name="Admin")).to_have_count(0)


def test_no_model_at_all_is_explained(own_product, model, open_page):
    status, answer = own_product.request("DELETE", "/v1/providers/local")
    assert status == 204, answer
    page = open_page()
    page.goto(f"{own_product.url}/chat/")
    expect_connected(page)
    add = page.locator("#no-model").get_by_role("link", name="Connect a model")
    expect(add).to_have_attribute("href", "/models/?new=1")
    page.locator("#empty button").first.click()
    expect_advice(page, "error", "Add a provider and mark it as the default", "models")


def test_a_failed_message_is_asked_again_on_the_page_of_runs(agent, open_page, product, name):
    who = agent(
        [{"only_first": 1, "do": [{"status": 401}]}, *CALCULATION], [{"text": "84"}], builtin_tools=["calculate"]
    )
    run = product.request("POST", f"/v1/agents/{who}/runs", {"message": "Go."})[1]
    page = open_page()
    page.goto(f"{product.url}/runs/?run={run['run_id']}")
    expect(page.locator("#run-status")).to_have_text("failed")
    page.locator(".said").first.hover()
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator("#run-status")).to_have_text("completed")
    assert run["run_id"] not in page.url
    page.get_by_role("link", name="its runs").click()
    expect(page.locator("#runs li")).to_have_count(2)
    page.locator("#filter-session").click()
    expect(page.locator("#filter-session")).to_be_hidden()
    assert "session=" not in page.url

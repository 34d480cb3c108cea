"""The page of agents in a real browser: all of them, and the form of one with a chat beside it."""

import pytest
from playwright.sync_api import Page, expect

from agents_app.engine.builtin_tools import BUILTIN_TOOLS, PLATFORM_TOOLS
from chat_app.pages import agent_choices
from tests.harness.fakes.simple_mcp_server import COMMAND
from tests.harness.pages.accessibility import expect_accessible
from tests.harness.pages.chat_page import expect_connected

pytestmark = pytest.mark.slow


@pytest.fixture
def server(product, name) -> str:
    """An MCP server whose tools are known."""
    body = {"name": name[:20], **COMMAND}
    assert product.request("POST", "/v1/mcp-servers", body)[0] == 201
    assert product.request("POST", f"/v1/mcp-servers/{name[:20]}/check")[1]["ok"] is True
    return name[:20]


@pytest.fixture
def agents_page(product, open_page):
    def open_at(query: str = "", **options) -> Page:
        page = open_page(**options)
        page.goto(f"{product.url}/agents/{query}")
        return page

    return open_at


def test_an_agent_is_made_tried_and_saved(product, model, agents_page, server, name):
    """From nothing to an agent with tools: the chat beside the form talks to what is not saved."""
    model.script(name, [[{"text": "Ahoy!"}]] * 2)
    model.script(f"{name}-other", [[{"text": "Good day."}]])
    product.add_agent(f"{name}-seed", model.base_url)  # so that the provider is there
    provider = product.request("GET", f"/v1/agents/{name}-seed")[1]["provider"]
    page = agents_page()
    page.get_by_role("button", name="New agent").click()
    dialog = page.locator("#new-dialog")
    dialog.get_by_label("Name").fill("no spaces")
    dialog.get_by_role("button", name="Create agent").click()
    expect(dialog.locator(".wrong")).to_contain_text("Use 1 to 64 letters")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_role("button", name="Create agent").click()
    expect(page.locator("#agent-title")).to_have_text(name)

    page.get_by_label("Provider").select_option(provider)
    page.locator("[name=model]").fill(name)
    page.get_by_label("Instructions").fill("You are a pirate.")
    trial = page.frame_locator("#trial")
    expect_connected(trial)
    trial.locator("#message").fill("Hello")
    trial.locator("#message").press("Enter")
    expect(trial.locator("#transcript")).to_contain_text("Ahoy!")
    assert model.requests(name)[-1]["messages"][0]["content"] == "You are a pirate."
    assert product.request("GET", f"/v1/agents/{name}")[1]["version"] == 1

    group = page.locator(".tool-group", has_text=server)
    group.locator("summary").click()
    group.get_by_label("add", exact=True).select_option("ask")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#said")).to_have_text("Saved as version 2")
    agent = product.request("GET", f"/v1/agents/{name}")[1]
    assert (agent["system_prompt"], agent["mcp_servers"]) == ("You are a pirate.", [server])
    assert agent["approval_required"] == [f"{server}__add"]
    assert agent["denied_tools"]  # the others, which were left off

    page.get_by_label("Model turns per run").evaluate("field => field.value = '0'")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#problem-of-max_iterations")).to_be_visible()
    expect_accessible(page)
    page.reload()
    expect(group.get_by_label("add", exact=True)).to_have_value("ask")
    page.locator("#policy summary").click()
    expect(page.locator("#policy-rules")).to_contain_text(
        f"A person must approve each call of what matches '{server}__add'"
    )
    page.locator("#versions summary").click()
    page.get_by_role("button", name="Compare").last.click()
    expect(page.locator(".changes ins").first).to_be_visible()
    page.get_by_role("button", name="Restore").last.click()
    expect(page.get_by_label("Instructions")).to_have_value("")


PATTERNS = """([agent, states, servers]) => import("/static/chat_app/agents/tool_patterns.js").then((module) => {
    const isThere = (name) => servers.some((server) => name.startsWith(server));
    const fields = module.patternsFor(agent, new Map(Object.entries(states)), isThere);
    const read = Object.keys(states).map((name) => [name, module.stateOf(fields, name, isThere(name))]);
    return [fields, Object.fromEntries(read)];
})"""


ALLOWED, DENIED, ASK = "allowed_tools", "denied_tools", "approval_required"


@pytest.mark.parametrize(
    ("agent", "states", "expected"),
    [
        ({ASK: ["a__*"]}, {"a__x": "ask", "a__y": "ask"}, {}),
        ({ASK: ["a__*"]}, {"a__x": "ask", "a__y": "allow"}, {ASK: ["a__x"]}),
        ({DENIED: ["a__d*"]}, {"a__del": "off", "a__y": "off"}, {DENIED: ["a__d*", "a__y"]}),
        ({DENIED: ["a__d*"]}, {"a__del": "allow", "a__y": "allow"}, {DENIED: []}),
        ({ALLOWED: ["a__r*"]}, {"a__r1": "allow", "a__w": "off"}, {}),
        (
            {ALLOWED: ["a__r*"]},
            {"a__r1": "off", "a__w": "allow"},
            {ALLOWED: ["a__r*", "a__w"], DENIED: ["a__r1"]},
        ),
        ({ASK: ["a__[!x]"]}, {"a__x": "allow", "a__y": "ask"}, {}),
        ({}, {"a__x": "off", "b__x": "off", "a__*": "ask"}, {DENIED: ["a__x"], ASK: ["a__*"]}),
    ],
)
def test_patterns_say_what_was_chosen_and_keep_what_still_holds(agent, states, expected, patterns_page):
    empty = {ALLOWED: [], DENIED: [], ASK: []}
    fields, read = patterns_page.evaluate(PATTERNS, [empty | agent, states, ["a__"]])
    assert fields == {**empty, **agent, **expected}
    if "a__*" not in states:
        assert read == states


@pytest.fixture(scope="module")
def patterns_page(shared_product, open_lasting_page):
    page = open_lasting_page()
    page.goto(f"{shared_product.url}/agents/")
    return page


def test_every_built_in_tool_has_a_label():
    assert set(agent_choices.BUILTIN_TOOLS) == {*BUILTIN_TOOLS, *PLATFORM_TOOLS}

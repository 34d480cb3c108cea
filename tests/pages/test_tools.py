"""The page of tools in a real browser: servers are added by pasting, and their tools are tried."""

import json
import sys

import pytest
from playwright.sync_api import expect

from tests.harness.fakes.simple_mcp_server import COMMAND
from tests.harness.pages.accessibility import expect_accessible

pytestmark = pytest.mark.slow

PASTE = 'text => import("/static/chat_app/tools/pasting.js").then((module) => module.serversOf(text))'
NPX = {"transport": "stdio", "command": "npx", "args": ["-y", "@modelcontextprotocol/server-everything"], "env": {}}
EVERYTHING = {"name": "everything", **NPX}
ENTRY = '"everything": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-everything"]}'


@pytest.fixture(scope="module")
def tools_page(shared_product, open_lasting_page):
    page = open_lasting_page()
    page.goto(f"{shared_product.url}/tools/")
    return page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("npx -y @modelcontextprotocol/server-everything", [EVERYTHING]),
        (" $ npx -y @modelcontextprotocol/server-everything\n", [EVERYTHING]),
        ("-y @modelcontextprotocol/server-everything", [EVERYTHING]),
        ("claude mcp add everything -- npx -y @modelcontextprotocol/server-everything", [EVERYTHING]),
        (f'{{"mcpServers": {{{ENTRY}}}}}', [EVERYTHING]),
        (f"{ENTRY},", [EVERYTHING]),
        ('{"servers": {"every thing!": {"command": "npx -y x"}}}', [
            {"name": "every-thing", "transport": "stdio", "command": "npx", "args": ["-y", "x"], "env": {}}]),
        ("KEY='a b' uvx mcp-server-time@1.2 --zone \"Europe/Berlin\"", [
            {"name": "time", "transport": "stdio", "command": "uvx",
             "args": ["mcp-server-time@1.2", "--zone", "Europe/Berlin"], "env": {"KEY": "a b"}}]),
        ("docker run -i --rm \\\n  ghcr.io/github/github-mcp-server:latest", [
            {"name": "github", "transport": "stdio", "command": "docker",
             "args": ["run", "-i", "--rm", "ghcr.io/github/github-mcp-server:latest"], "env": {}}]),
        ("https://mcp.linear.app/sse", [{"name": "linear", "transport": "sse", "url": "https://mcp.linear.app/sse"}]),
        ('{"mcpServers": {"a": {"url": "https://x.io/mcp", "headers": {"X": 1}}, "b": {"command": "b"}}}', [
            {"name": "a", "transport": "streamable_http", "url": "https://x.io/mcp", "headers": {"X": "1"}},
            {"name": "b", "transport": "stdio", "command": "b", "args": [], "env": {}}]),
        ("", "Paste a command line"),
        ('{"mcpServers": {"a": {', "not complete JSON"),
        ('{"mcpServers": {"a": {"note": 1}}}', "no server in it"),
    ],
)  # fmt: skip
def test_what_a_readme_says_is_a_server(tools_page, text, expected):
    if isinstance(expected, str):
        with pytest.raises(Exception, match=expected):
            tools_page.evaluate(PASTE, text)
    else:
        assert tools_page.evaluate(PASTE, text) == expected


def test_a_server_is_pasted_connected_and_tried(product, open_page, name):
    page = open_page()
    page.goto(f"{product.url}/tools/")
    own = name[:20]
    servers = {own: {"command": sys.executable, "args": COMMAND["args"]}}
    page.get_by_label("Add a server").fill(json.dumps({"mcpServers": servers}))
    page.get_by_role("button", name="Add and connect").click()
    card = page.locator(f'[data-server="{own}"]')
    expect(card.locator(".status")).to_contain_text("✓", timeout=60_000)

    tool = card.locator('[data-tool="add"]')
    tool.locator("summary").first.click()
    tool.get_by_label("a *").fill("2")
    tool.get_by_label("b *").fill("40")
    tool.get_by_role("button", name="Call it").click()
    expect(tool.locator(".result")).to_contain_text("42")
    expect_accessible(page)
    failing = card.locator('[data-tool="fail"]')
    failing.locator("summary").first.click()
    failing.get_by_role("button", name="Call it").click()
    expect(failing.locator(".result")).to_contain_text("the disk is on fire")

    page.get_by_label("Add a server").fill(json.dumps({"mcpServers": servers}))
    page.get_by_role("button", name="Add and connect").click()
    expect(page.locator("#paste-problem")).to_contain_text("already exists")
    card.get_by_role("button", name="Delete").click()
    page.locator("#delete-dialog").get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)

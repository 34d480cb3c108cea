"""The control room, and what an administrator does with runs and tools, in a real browser on a real server."""

import json
import re

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.harness.fakes.simple_mcp_server import COMMAND
from tests.harness.pages.accessibility import expect_accessible
from tests.harness.people import PASSWORD, shell
from tests.harness.wait import until

pytestmark = pytest.mark.slow


@pytest.fixture
def admin(people, open_page):
    """A function that opens a page of the admin as `boss`, and notes what the page's policy refused."""

    def open_admin(path: str, **options) -> Page:
        page = open_page(**options)
        page.on("console", note)
        pages.append(page)
        page.goto(f"{people['boss'].product.url}/admin/{path}")
        page.fill("#id_username", "boss")
        page.fill("#id_password", PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#user-tools")).to_contain_text("boss")
        return page

    pages: list[Page] = []
    refused: list[str] = []

    def note(message: ConsoleMessage) -> None:
        place = message.location["url"]
        # axe takes style sheets apart and loads what they import, from the wrong place: that is not the page's doing.
        if message.type == "error" and place and not place.endswith("widgets.css"):
            refused.append(f"{message.text} {place}")

    yield open_admin
    for page in pages:
        page.remove_listener("console", note)
    assert not refused, refused


@pytest.fixture
def start(people, model, name):
    """A function that starts a run of an agent that plays these turns; returns the run's path in the API."""
    boss = people["boss"]

    def begin(*turns, **fields) -> str:
        model.script(name, list(turns))
        boss.add_agent(name, model.base_url, **fields)
        return f"/v1/runs/{boss.request('POST', f'/v1/agents/{name}/runs', {'message': 'Hello'})[1]['run_id']}"

    return begin


def number(page: Page, which: str) -> int:
    return int(page.locator(f"#{which}").inner_text().replace(",", ""))


def test_the_numbers_follow_what_happens_by_themselves(admin, start, people, model, name):
    page = admin("control-room/")
    expect(page.locator("#live-state")).to_contain_text("Live, as of")
    going_on = page.locator("section", has_text="Running now")
    worker = page.locator("section", has_text="Workers").locator("tbody tr")
    expect(worker).to_have_count(1)
    expect(worker).to_contain_text("works")
    sockets = number(page, "sockets")  # of other tests, which use the same server

    run = start([{"text": "One "}, {"wait": name}, {"text": "two."}])
    expect(going_on).to_contain_text(f"{name} · Hello")
    assert number(page, "running") >= 1
    assert number(page, "sockets") == sockets
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live-state")).to_have_text("Paused")
    model.release(name)
    until(lambda: people["boss"].request("GET", run)[1]["status"] == "completed")
    expect(going_on).to_contain_text(name)
    page.get_by_role("button", name="Pause").click()
    expect(going_on).not_to_contain_text(name)

    page.reload()
    expect(page.locator("#agents-title + .wide")).to_contain_text(name)
    page.locator("select[name=agent]").select_option(name)
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#plot-runs")).to_be_visible()
    expect(page).to_have_url(re.compile(f"agent={name}"))
    expect(page.locator("svg rect.completed title")).to_have_text([re.compile(": 1 completed$")])
    expect_accessible(page)


def test_a_run_is_approved_stopped_and_run_again_on_its_page(admin, start, people, name):
    boss = people["boss"]
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}
    run = start([call], [{"text": "Two."}], builtin_tools=["calculate"], approval_required=["*"])
    until(lambda: boss.request("GET", run)[1]["status"] == "waiting")
    page = admin(f"agents_app/run/{run.rsplit('/')[-1]}/change/")
    expect_accessible(page)
    page.get_by_role("button", name="Approve what waits").click()
    expect(page.locator(".messagelist")).to_contain_text("Approved.")
    until(lambda: boss.request("GET", run)[1]["status"] == "completed")

    page.reload()
    page.get_by_role("button", name="Run it again").click()
    expect(page.locator(".messagelist")).to_contain_text("this is the new run")
    again = f"/v1/runs/{page.url.split('/')[-3]}"
    assert again != run
    until(lambda: boss.request("GET", again)[1]["status"] == "waiting")
    assert boss.request("GET", again)[1]["trigger"] == "admin"
    page.reload()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(".messagelist")).to_contain_text("The run is stopped.")
    until(lambda: boss.request("GET", again)[1]["status"] == "cancelled")
    page.get_by_role("link", name="Live timeline").click()
    expect(page.locator("#waterfall li").first).to_be_visible()


def test_a_tool_is_called_by_hand(admin, people, name):
    boss = people["boss"]
    short = name[-12:]
    assert boss.request("POST", "/v1/mcp-servers", {"name": short, **COMMAND})[0] == 201
    key = shell(
        boss.product, f"from agents_app.models import McpServer; print(McpServer.objects.get(name={short!r}).pk)"
    )
    page = admin(f"agents_app/mcpserver/{key}/change/")
    page.get_by_role("link", name="Call a tool").click()
    expect_accessible(page)
    page.locator("#id_tool").select_option("add")
    page.locator("#id_arguments").fill(json.dumps({"a": 20, "b": 22}))
    page.get_by_role("button", name="Call it").click()
    expect(page.locator("#result pre")).to_have_text("42")
    page.locator("#id_arguments").fill('{"a": "x"}')
    page.get_by_role("button", name="Call it").click()
    expect(page.locator(".errornote")).to_be_visible()
    page.locator("#id_tool").select_option("fail")
    page.locator("#id_arguments").fill("")
    page.get_by_role("button", name="Call it").click()
    expect(page.locator("#result")).to_contain_text("the disk is on fire")
    page.goto(f"{boss.product.url}/admin/admin/logentry/")
    expect(page.locator("#result_list")).to_contain_text("Called the tool add.")


@pytest.mark.parametrize("width", [360, 1440])
def test_the_admin_fits_phones_and_the_dark(admin, people, width):
    page = admin("control-room/", width=width)
    expect(page.locator("#live-state")).to_contain_text("Live, as of")
    expect_accessible(page)
    for path in ("", "agents_app/run/", "agents_app/agent/", "agents_app/scheduledtask/add/", "control-room/"):
        page.goto(f"{people['boss'].product.url}/admin/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path

"""Takes the pictures of the admin in docs/images: `python -m benchmarks.admin_screenshots [--folder docs/images]`.

The rows are made up (`benchmarks.admin_rows`); the server, its worker and the run that is going on are real.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.fakes.simple_mcp_server import COMMAND
from tests.harness.pages.browser import browser
from tests.harness.paths import ROOT
from tests.harness.people import PASSWORD, invite
from tests.harness.product import Product

SIZES = {1440: 1000, 360: 740}
SHOWN = {"control-room-1440-light", "control-room-1440-dark", "control-room-360-light", "run-1440-light"}
SHOWN |= {"task-1440-light", "tool-1440-light"}
FILL = """
from benchmarks import admin_rows
admin_rows.fill(admin_rows.make_cast(), runs=2000, events=4000, days=14)
"""


def furnish(product: Product, model: FakeModel) -> None:
    """Two weeks of runs, a server of tools, and a run that is going on."""
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate", "-v", "0"], cwd=ROOT, env=product.environment, check=True)
    subprocess.run([*manage, "shell", "-v", "0", "-c", FILL], cwd=ROOT, env=product.environment, check=True)
    product.start()
    boss = invite(product, "boss")["boss"]
    boss.request("POST", "/v1/mcp-servers", {"name": "simple", **COMMAND})
    boss.request("POST", "/v1/mcp-servers/simple/check")
    model.script("writer", [[{"text": "Dear night shift, "}, {"wait": "for ever"}]])
    boss.add_agent("writer", model.base_url)
    boss.request("POST", "/v1/agents/writer/runs", {"message": "Write a short note that thanks the night shift."})
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "310 * 8760 / 1000 * 0.29"}}}
    model.script("analyst", [[call], [{"text": "787.52 € a year."}]])
    asking: dict[str, Any] = {"builtin_tools": ["calculate"], "approval_required": ["*"]}
    boss.add_agent("analyst", model.base_url, **asking)
    boss.request("POST", "/v1/agents/analyst/runs", {"message": "What does a server of 310 W cost a year?"})


def scenes(product: Product) -> dict[str, str]:
    """Where each picture is taken."""
    boss = invite(product, "boss")["boss"]
    waiting = boss.request("GET", "/v1/runs?status=waiting")[1]["data"][0]["id"]
    task = boss.request("GET", "/v1/tasks")[1]["data"][0]["id"]
    return {
        "control-room": "control-room/",
        "runs": "agents_app/run/",
        "run": f"agents_app/run/{waiting}/change/",
        "task": f"agents_app/scheduledtask/{task}/change/",
        "agents": "agents_app/agent/",
        "tool": "agents_app/mcpserver/",
    }


def sign_in(page: Page, product: Product) -> None:
    page.goto(f"{product.url}/admin/control-room/")
    page.fill("#id_username", "boss")
    page.fill("#id_password", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#live-state")).to_contain_text("Live, as of")


def shoot(page: Page, product: Product, name: str, path: str, file: Path) -> None:
    page.goto(f"{product.url}/admin/{path}")
    if name == "control-room":
        expect(page.locator("#live-state")).to_contain_text("Live, as of")
    if name == "tool":
        page.get_by_role("link", name="simple", exact=True).click()
        page.get_by_role("link", name="Call a tool").click()
        page.locator("#id_tool").select_option("add")
        page.locator("#id_arguments").fill('{"a": 20, "b": 22}')
        page.get_by_role("button", name="Call it").click()
        expect(page.locator("#result pre")).to_have_text("42")
    page.screenshot(path=file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    parser.add_argument("--all", action="store_true", help="Every page in every width, light and dark.")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as var, FakeModel() as model, browser() as open_page:
        product = Product(Path(var) / "var", AUTH_REQUIRED="true", PYTHONPATH=os.fspath(ROOT))
        try:
            furnish(product, model)
            where = scenes(product)
            for width, scheme in itertools.product(SIZES, ("light", "dark")):
                page = open_page(width=width, height=SIZES[width], color_scheme=scheme)
                sign_in(page, product)
                for name, path in where.items():
                    picture = f"{name}-{width}-{scheme}"
                    if options.all or picture in SHOWN:
                        shoot(page, product, name, path, options.folder / f"admin-{picture}.png")
                page.context.close()
        finally:
            product.stop()


if __name__ == "__main__":
    main()

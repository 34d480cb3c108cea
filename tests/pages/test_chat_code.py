"""Code that an agent runs: what a person in the chat gives it and gets of it, in a real browser."""

import pytest
from playwright.sync_api import expect

from tests.harness.pages.chat_page import expect_connected, runs, say
from tests.pages.test_chat_files import chips, give

pytestmark = pytest.mark.slow

SALES = {"name": "sales.csv", "mimeType": "text/csv", "buffer": b"month,sum\n1,20\n2,40\n3,30\n"}
PLOT = """
import csv
from PIL import Image, ImageDraw
sums = [int(row["sum"]) for row in csv.DictReader(open("sales.csv"))]
plot = Image.new("RGB", (300, 200), "white")
for place, height in enumerate(sums):
    ImageDraw.Draw(plot).rectangle((place * 100 + 20, 200 - 4 * height, place * 100 + 80, 200), "teal")
plot.save("plot.png")
print("plotted", len(sums))
"""
ENDLESS = "import time\nprint('still here', flush=True)\ntime.sleep(600)"
LOOK = "import os\nprint(sorted(name for name in os.listdir('.') if not name.startswith('.')))"


def code(text: str) -> list[dict]:
    return [{"tool_call": {"name": "run_code", "arguments": {"code": text}}}]


def test_a_table_is_dropped_in_plotted_and_still_there_after_a_restart(chat, model, name, own_product):
    model.script(name, [code(PLOT), [{"text": "The best month was 2."}]])
    own_product.add_agent(name, model.base_url, builtin_tools=["run_code"])
    page = chat(name, on=own_product)
    give(page, SALES)
    expect(chips(page, "uploaded")).to_have_count(1)
    say(page, "Plot the sales")
    expect(runs(page, "completed")).to_contain_text("The best month was 2.")
    picture = page.get_by_role("img", name="plot.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 100
    picture.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    page.keyboard.press("Escape")

    model.script(name, [code(ENDLESS)])
    say(page, "Go on for ever")
    expect(page.locator(".run").last).to_contain_text("still here")
    page.get_by_role("button", name="Stop").click()
    expect(runs(page, "cancelled")).to_have_count(1)

    own_product.terminate()
    own_product.start()
    page.reload()
    expect_connected(page)
    expect(page.get_by_role("img", name="plot.png")).to_be_visible()
    page.select_option("#agent", name)
    model.script(name, [code(LOOK), [{"text": "All there."}]])
    say(page, "What is there?")
    expect(runs(page, "completed")).to_have_count(2)
    page.locator(".run").last.locator(".worked").click()
    page.locator(".run").last.locator("summary").first.click()
    expect(page.locator(".run").last).to_contain_text("['plot.png', 'sales.csv']")

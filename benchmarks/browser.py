"""What a person before the chat page notices, in headless Chromium: first token, a fast stream, a long session.

python -m benchmarks.browser [first|stream|session|all] [--seconds 60] [--rate 200] [--tries 20]

Browser, server and model share this machine's cores.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from benchmarks.stream import percentiles
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.pages import page_measures
from tests.harness.pages.browser import browser
from tests.harness.pages.chat_page import runs, say
from tests.harness.pages.long_session import make_long_session
from tests.harness.product import Product


def first(page: Page, product: Product, model: FakeModel, tries: int) -> None:
    """From the arrival of the frame to the paint, of as many answers."""
    model.script("first", [[{"text": "One two three.", "chunk": 4, "delay": 0.05}]])
    product.add_agent("first", model.base_url)
    page_measures.observe(page)
    page.goto(f"{product.url}/chat/?agent=first")
    page.locator("#agent:enabled").select_option("first")
    times = []
    for number in range(1, tries + 1):
        page.evaluate("measured.cameAt = measured.shownAt = 0")
        say(page, "Go on.")
        times.append(page_measures.time_to_first_token(page))
        runs(page, "completed").nth(number - 1).wait_for()
    print(f"first token painted after its frame arrived, ms: {percentiles(times)}", flush=True)


def stream(page: Page, product: Product, model: FakeModel, kind: str, rate: int, seconds: int) -> None:
    """One answer of so many tokens a second: `prose`, or `markdown` of all kinds."""
    model.script(kind, [getattr(page_measures, kind)(rate, seconds)])
    product.add_agent(kind, model.base_url)
    seen = page_measures.stream(page, f"{product.url}/chat/", kind, seconds=seconds)
    print(
        f"{kind}, {rate} tokens/s for {seconds} s: {len(seen.long_tasks)} tasks over 50 ms"
        f" (longest {max(seen.long_tasks, default=0):.0f}); heap {seen.before.megabytes:.1f} → "
        f"{seen.after.megabytes:.1f} MB, DOM nodes {seen.before.nodes} → {seen.after.nodes}",
        flush=True,
    )


def session(page: Page, product: Product, session_id: str, tries: int) -> None:
    """Opening 5,000 steps, and scrolling up through them."""
    seen = [page_measures.open_session(page, f"{product.url}/chat/?session={session_id}") for _ in range(tries)]
    opened = sorted(each.opened for each in seen)
    frames = seen[-1].frames
    print(
        f"5,000 steps opened in ms: {opened[0]:.0f} to {opened[-1]:.0f}, median {statistics.median(opened):.0f};"
        f" long tasks {[round(task) for task in seen[-1].long_tasks]};"
        f" frames while scrolling: median {statistics.median(frames):.0f}, longest {frames[-1]:.0f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="all", choices=["first", "stream", "session", "all"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--tries", type=int, default=20)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    names = {options.what} if options.what != "all" else {"first", "stream", "session"}
    with tempfile.TemporaryDirectory() as folder, FakeModel() as model, Product(Path(folder) / "var") as product:
        long_session = make_long_session(product, model) if "session" in names else ""
        with browser() as open_page:
            if "first" in names:
                first(open_page(), product, model, options.tries)
            if "stream" in names:
                for kind in ("prose", "markdown"):
                    stream(open_page(), product, model, kind, options.rate, options.seconds)
            if "session" in names:
                session(open_page(), product, long_session, min(5, options.tries))


if __name__ == "__main__":
    main()

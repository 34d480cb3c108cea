"""What a person before a page would notice: how late a token is shown, whether the page stalls, what it holds.

Times are milliseconds.
"""

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page, expect

from tests.harness.pages.chat_page import expect_connected, runs, say

# Before the page's own scripts: long tasks, when the first token of a run came in, and when it had been painted.
_OBSERVE = """(() => {
    if (window.measured) return;
    window.measured = { longTasks: [], cameAt: 0, shownAt: 0, openedAt: 0, firstItems: 0 };
    new PerformanceObserver((list) => measured.longTasks.push(...list.getEntries().map((task) => task.duration)))
        .observe({ type: "longtask", buffered: true });
    const afterPaint = (act) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = act;
        requestAnimationFrame(() => port2.postMessage(""));
    };
    window.WebSocket = class extends WebSocket {
        constructor(...given) {
            super(...given);
            this.addEventListener("message", ({ data }) => {
                if (!measured.cameAt && data.includes('"reasoning_delta"')) measured.cameAt = performance.now();
            });
        }
    };
    new MutationObserver(() => {
        const growing = '[data-status="streaming"] .text:not(:empty)';
        if (measured.cameAt && !measured.shownAt && document.querySelector(growing)) {
            measured.shownAt = 1;
            afterPaint(() => (measured.shownAt = performance.now()));
        }
        measured.firstItems ||= document.querySelectorAll("li.item").length;
        if (!measured.openedAt && document.querySelector('.run[data-status="completed"]')) {
            measured.openedAt = 1;
            afterPaint(() => (measured.openedAt = performance.now()));
        }
    }).observe(document, { subtree: true, attributes: true, childList: true, characterData: true });
})()"""
_SCROLL = """() => new Promise((done) => {
    const scroller = document.getElementById("scroller");
    const times = [];
    const step = (time) => {
        times.push(time);
        scroller.scrollTop -= 400;
        times.length < 120 ? requestAnimationFrame(step) : done(times.slice(1).map((each, at) => each - times[at]));
    };
    requestAnimationFrame(step);
})"""


def _wait(page: Page, name: str) -> None:
    """In the page: Playwright would look at all of it again and again, and may not evaluate texts there."""
    page.evaluate(
        """(name) => new Promise((done) => {
            const timer = setInterval(() => measured[name] > 1 && (clearInterval(timer), done()), 50);
        })""",
        name,
    )


def observe(page: Page) -> None:
    """From the next load on."""
    page.add_init_script(_OBSERVE)


def time_to_first_token(page: Page) -> float:
    """From the arrival of a run's first token to its having been painted."""
    _wait(page, "shownAt")
    return page.evaluate("measured.shownAt - measured.cameAt")


@dataclass(frozen=True)
class Held:
    """What a page holds after its garbage was collected."""

    megabytes: float
    nodes: int


def held(page: Page) -> Held:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return Held(metrics["JSHeapUsedSize"] / 1e6, int(metrics["Nodes"]))


def prose(rate: int, seconds: float) -> list[dict[str, Any]]:
    """A model's turn: paragraphs of words, so many tokens a second."""
    words = "The quick brown fox jumps over the lazy dog again. " * 9
    count = int(rate * seconds)
    text = (f"{words.strip()}\n\n" * (count * 5 // len(words) + 1))[: count * 5]
    return [{"text": text, "chunk": 5, "delay": 1 / rate}]


def markdown(rate: int, seconds: float) -> list[dict[str, Any]]:
    """A model's turn: headings, prose, lists, tables and code, so many tokens a second."""
    prose_of = "The *quick* brown fox **jumps** over the `lazy` dog again. " * 6
    items = "".join(f"- item {number} of the list, with **bold** words\n" for number in range(12))
    rows = "".join(f"| {number} | some *cell* | {number * number} |\n" for number in range(12))
    code = "".join(f"    total += {number}  # a comment\n" for number in range(25))
    parts = f"## Heading\n\n{prose_of}\n\n{items}\n| a | b | c |\n|:--|---|--:|\n{rows}\n```python\n{code}```\n\n"
    count = int(rate * seconds)
    text = (parts * (count * 5 // len(parts) + 1))[: count * 5]
    return [{"text": text, "chunk": 5, "delay": 1 / rate}]


@dataclass(frozen=True)
class Streamed:
    """How a page took a stream."""

    first_token: float
    long_tasks: list[float]
    before: Held
    after: Held


def stream(page: Page, address: str, agent: str, *, seconds: float) -> Streamed:
    """Open a new chat, ask the agent, and watch until its answer is whole."""
    observe(page)
    page.goto(address)
    expect_connected(page)
    page.select_option("#agent", agent)
    before = held(page)
    page.evaluate("measured.longTasks.length = 0")
    say(page, "Go on.")
    first = time_to_first_token(page)
    # A promise, not an expectation: Playwright would look at the page again and again meanwhile.
    page.set_default_timeout((seconds + 60) * 1000)
    page.evaluate("""() => new Promise((done) => {
        const look = () => {
            if (document.querySelector('.run[data-status="completed"]')) { observer.disconnect(); done(); }
        };
        const observer = new MutationObserver(look);
        observer.observe(document, { subtree: true, attributes: true });
        look();
    })""")
    expect(runs(page, "completed")).to_have_count(1)
    return Streamed(first, page.evaluate("measured.longTasks"), before, held(page))


@dataclass(frozen=True)
class Opened:
    """How a page opened a session, and scrolled in it. `first_items`: the cards that it made in one go."""

    opened: float
    first_items: int
    frames: list[float]
    long_tasks: list[float]


def open_session(page: Page, address: str) -> Opened:
    """Open a session for the second time, with the scripts at hand. Where cards are still made, that is waited for."""
    page.goto(address)
    expect(runs(page, "completed")).to_have_count(1, timeout=60_000)
    observe(page)
    page.reload()
    _wait(page, "openedAt")
    opened: float = page.evaluate("measured.openedAt")
    long_tasks: list[float] = page.evaluate("measured.longTasks")
    frames: Any = page.evaluate(_SCROLL)
    return Opened(opened, page.evaluate("measured.firstItems"), sorted(frames), long_tasks)

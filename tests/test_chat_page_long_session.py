"""A session of 5,000 steps in a real browser, with nothing else open in it."""

import urllib.request

import pytest
from playwright.sync_api import expect

from tests.servers.browser import browser
from tests.servers.chat_page import runs, text_of

pytestmark = pytest.mark.slow
BIG = {"max_iterations": 100, "builtin_tools": ["calculate"]}


@pytest.fixture(scope="module")
def long_session(shared_product, model):
    """A session of 5,000 steps."""
    calls = [{"tool_call": {"name": "calculate", "arguments": {"expression": f"{n} + 1"}}} for n in range(250)]
    turns = [[{"text": f"Turn {turn}: let me calculate."}, *calls] for turn in range(10)]
    model.script("long-session", [*turns, [{"text": "All **calculated**."}]])
    shared_product.add_agent("long-session", model.base_url, **BIG)
    _, run = shared_product.request("POST", "/v1/agents/long-session/runs", {"message": "Calculate a lot."})
    address = f"{shared_product.url}/v1/runs/{run['run_id']}/events"
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Accept": "text/event-stream"})) as events:
        ending = next(line for line in events if b'"type":"reasoning_complete"' in line)
    assert b'"status":"completed"' in ending
    return run["session_id"]


@pytest.fixture
def page():
    with browser() as open_page:
        yield open_page()


def test_a_session_of_5000_steps_opens_quickly_and_scrolls_smoothly(long_session, product, page):
    page.goto(f"{product.url}/chat/?session={long_session}")
    expect(runs(page, "completed")).to_have_count(1, timeout=60_000)
    # A promise, not an expectation: Playwright would look at all the page again and again meanwhile.
    page.add_init_script("""
        window.opened = new Promise((resolve) => new MutationObserver((_, observer) => {
            if (document.querySelector('.run[data-status="completed"]')) {
                requestAnimationFrame(() => resolve(performance.now()));
                observer.disconnect();
            }
        }).observe(document, { subtree: true, attributes: true, childList: true }));
    """)
    page.reload()
    opened = page.evaluate("window.opened")
    print(f"opened in {opened:.0f} ms")
    assert page.locator(".item").count() == 5011
    expect(text_of(page, "final_answer").locator("strong")).to_be_visible()

    frames = page.evaluate("""() => new Promise((done) => {
        const scroller = document.getElementById("scroller");
        const times = [];
        const step = (time) => {
            times.push(time);
            scroller.scrollTop -= 400;
            times.length < 120 ? requestAnimationFrame(step) : done(times.slice(1).map((each, at) => each - times[at]));
        };
        requestAnimationFrame(step);
    })""")
    print(f"frames: median {sorted(frames)[60]:.0f} ms, longest {max(frames):.0f} ms")
    assert opened < 3000
    assert sorted(frames)[60] < 50

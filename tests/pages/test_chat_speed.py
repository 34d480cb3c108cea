"""What makes the chat page quick: it does little at a time and keeps little. `benchmarks.browser` measures times."""

import os

import pytest
from playwright.sync_api import expect

from tests.harness.pages import long_session, page_measures
from tests.harness.pages.chat_page import runs, say, text_of
from tests.harness.paths import ROOT

pytestmark = pytest.mark.slow

# 5,000 steps take a minute of computing: `LONG_SESSION=1 pytest tests/pages/test_chat_speed.py -k newest`.
CALLS = long_session.CALLS if os.environ.get("LONG_SESSION") else 50


@pytest.fixture
def page(open_page):
    page = open_page(is_new=True)
    yield page
    page.close()


def test_of_a_long_session_the_newest_steps_are_shown_first(shared_product, model, page):
    session = long_session.make_long_session(shared_product, model, CALLS)
    seen = page_measures.open_session(page, f"{shared_product.url}/chat/?session={session}")
    print(f"opened in {seen.opened:.0f} ms, long tasks {seen.long_tasks}, frames {seen.frames[60]:.0f} ms")
    expect(page.locator(".item")).to_have_count(long_session.items(CALLS), timeout=120_000)
    page.locator("#scroller").evaluate("(scroller) => (scroller.scrollTop = scroller.scrollHeight)")
    expect(text_of(page, "final_answer").locator("strong")).to_be_visible(timeout=120_000)
    order = page.locator("li.item").evaluate_all("items => items.map((item) => Number(item.dataset.step))")
    assert order == sorted(order)
    expect(page.locator("li.item:visible")).to_have_count(1)  # the answer: the work is folded
    assert 0 < seen.first_items < long_session.items(CALLS) / 5


def test_results_that_overtake_each_other_are_in_the_order_of_their_steps(page):
    """Results of calls at once end in any order: here in batches, while cards of earlier ones are still to be made."""
    static = ROOT / "chat_app/static"
    page.route(
        "http://chat.test/**",
        lambda route: route.fulfill(
            body=(static / route.request.url.removeprefix("http://chat.test/")).read_text()
            if route.request.url.endswith(".js")
            else "<ol id=root></ol>",
            content_type="text/javascript" if route.request.url.endswith(".js") else "text/html",
        ),
    )
    page.goto("http://chat.test/")
    order = page.evaluate(
        """async (count) => {
            const { Conversation } = await import("http://chat.test/chat_app/chat/fold.js");
            const { Transcript } = await import("http://chat.test/chat_app/chat/transcript.js");
            const transcript = new Transcript(document.getElementById("root"), { watch() {} });
            const conversation = new Conversation();
            const steps = Array.from({ length: count }, (_, step) => step);
            const late = new Set(steps.filter((step) => step % 7 === 3));
            let seq = 0;
            for (const batch of [steps.filter((step) => !late.has(step)), [...late].reverse()]) {
                for (const step of batch) {
                    const data = { step, type: "tool_result", iteration: 1, content: `${step}` };
                    conversation.take({ run_id: "run", type: "reasoning_step", seq: (seq += 1), timestamp: seq, data });
                }
                transcript.draw(conversation);
            }
            transcript.finish();
            return [...document.querySelectorAll(".item")].map((item) => Number(item.dataset.step));
        }""",
        1000,
    )
    assert order == list(range(1000))


def test_a_fast_stream_keeps_nothing(agent, product, page):
    who = agent(page_measures.markdown(200, 8))
    seen = page_measures.stream(page, f"{product.url}/chat/", who, seconds=8)
    print(f"first token after {seen.first_token:.0f} ms, long tasks {seen.long_tasks}, {seen.before} → {seen.after}")
    assert seen.after.megabytes - seen.before.megabytes < 5
    assert seen.after.nodes - seen.before.nodes < 3000


def test_text_that_grows_in_blocks_is_the_text(agent, chat, model, name):
    """Lines of all lengths, of which some end a block, in pieces that end anywhere."""
    text = "\n".join("x" * (37 * number % 700) + f" line {number}" for number in range(40))
    page = chat(agent([{"text": f"```\n{text}", "chunk": 13}, {"wait": name}]))
    say(page, "Go on.")
    answer = text_of(page, "final_answer").locator("code")
    expect(answer).to_contain_text("line 39")
    assert answer.evaluate("(node) => node.textContent") == text
    assert answer.locator(".block").count() > 10
    heights = """(node) => {
        const plain = node.cloneNode();
        plain.textContent = node.textContent;
        node.style.display = plain.style.display = "block";
        node.after(plain);
        const [one, other] = [node, plain].map((each) => each.getBoundingClientRect().height);
        plain.remove();
        return [one, other];
    }"""
    one, other = answer.evaluate(heights)
    assert one == pytest.approx(other, abs=1)
    model.release(name)
    expect(runs(page, "completed")).to_have_count(1)

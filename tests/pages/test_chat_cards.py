"""Cards of steps in a real browser: colours, folding, JSON, tokens, the line that says what goes on."""

import json
import re
import sys

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.harness.fakes import own_mcp_server
from tests.harness.pages.chat_page import CALCULATION, expect_connected, runs, say, unfold
from tests.harness.paths import ROOT

pytestmark = pytest.mark.slow
HUES = {"thought": "blue", "tool_use": "orange", "final_answer": "green", "error": "red"}
ANSWER = [{"text": "It is 84."}]
PICTURE = (  # of two by two pixels, orange
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP438AARAwQCgAt7gX9iz9uhAAAAABJRU5ErkJggg=="
)


def card(page: Page, kind: str) -> Locator:
    return page.locator(f'.item[data-type="{kind}"]')


def colours(where: Locator) -> dict[str, list[float]]:
    """The colours of a card's title and ground, as red, green, blue from 0 to 1."""
    return where.evaluate("""(card) => {
        const parts = (colour) => colour.match(/[0-9.]+/g).slice(0, 3).map((part) => Number(part) / 255);
        const title = getComputedStyle(card.querySelector(".title")).color;
        const facts = getComputedStyle(card.querySelector(".facts")).color;
        const ground = getComputedStyle(card).backgroundColor;
        return { title: parts(title), facts: parts(facts), ground: parts(ground) };
    }""")


def usage(taken: int, options: int) -> dict:
    return {"usage": {"prompt_tokens": taken, "completion_tokens": options, "total_tokens": taken + options}}


def luminance(colour: list[float]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[float], other: list[float]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def hue(colour: list[float]) -> str:
    red, green, blue = colour
    if blue == max(colour):
        return "purple" if red > green + 0.05 else "blue"
    if green == max(colour):
        return "green"
    return "orange" if green > blue + 0.1 else "red"


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_each_kind_of_step_has_its_colour_and_can_be_read(agent, chat, color_scheme, product, model):
    page = chat(agent(CALCULATION, ANSWER, builtin_tools=["calculate"]), color_scheme=color_scheme)
    say(page, "What is 12 × (3 + 4)?")
    expect(runs(page, "completed")).to_have_count(1)
    model.script(broken := f"{page.input_value('#agent')}-broken", [[{"status": 401}]])
    product.add_agent(broken, model.base_url)
    page.reload()
    expect_connected(page)
    page.select_option("#agent", broken)
    say(page, "And now?")
    expect(runs(page, "failed")).to_have_count(1)

    for kind, name in HUES.items():
        result = colours(card(page, kind).first)
        assert hue(result["title"]) == name, kind
        assert contrast(result["title"], result["ground"]) >= 4.5, kind
        assert contrast(result["facts"], result["ground"]) >= 4.5, kind


def test_steps_are_folded_when_done_and_open_on_a_key(agent, chat):
    page = chat(agent(CALCULATION, ANSWER, builtin_tools=["calculate"]))
    say(page, "What is 12 × (3 + 4)?")
    expect(runs(page, "completed")).to_have_count(1)

    expect(page.get_by_role("button", name="Worked")).to_have_text(re.compile(r"^Worked .* m?s · 1 tool$"))
    for kind in ("thought", "tool_use"):
        expect(card(page, kind)).to_be_hidden()
    unfold(page)
    for kind in ("thought", "tool_use"):
        expect(card(page, kind).locator(".text").first).to_be_hidden()
    expect(card(page, "final_answer").locator(".text")).to_be_visible()
    expect(card(page, "tool_use").locator(".glimpse")).to_have_text("12 * (3 + 4) → 84")
    expect(card(page, "tool_use").locator(".outcome")).to_have_text("✓")
    summary = card(page, "tool_use").locator("summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(card(page, "tool_use").locator(".text").first).to_be_visible()
    expect(card(page, "tool_result").locator(".text")).to_have_text("84")
    page.keyboard.press("Enter")
    expect(card(page, "tool_result").locator(".text")).to_be_hidden()


def test_a_step_is_open_while_it_is_written(agent, chat, model):
    page = chat(agent([{"reasoning": "Let me see."}, {"wait": "seen"}, {"text": "Yes."}]))
    say(page, "Well?")
    expect(card(page, "thought").locator(".text")).to_be_visible()

    model.release("seen")
    expect(runs(page, "completed")).to_have_count(1)
    expect(card(page, "thought").locator(".text")).to_be_hidden()


def test_what_a_person_has_opened_stays_open(agent, chat, model):
    turns = CALCULATION, [{"reasoning": "Now I know."}, {"wait": "told"}, {"text": "It is 84."}]
    page = chat(agent(*turns, builtin_tools=["calculate"]))
    say(page, "What is 12 × (3 + 4)?")
    card(page, "tool_use").locator("summary").click()
    expect(card(page, "tool_result").locator(".text")).to_be_visible()

    model.release("told")
    expect(runs(page, "completed")).to_have_count(1)
    expect(card(page, "tool_result").locator(".text")).to_be_visible()


def test_a_summary_tells_turn_duration_and_tokens(agent, chat):
    turns = [*CALCULATION, usage(7, 5)], [*ANSWER, usage(20, 1234)]
    page = chat(agent(*turns, builtin_tools=["calculate"]))
    say(page, "What is 12 × (3 + 4)?")

    unfold(page)
    expect(card(page, "tool_use").locator(".facts")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    expect(card(page, "final_answer").locator(".facts")).to_have_text(
        re.compile(r"^ · step 2 · [\d.]+ m?s · 1,234 tokens$")
    )


def test_the_present_step_is_shown_with_its_time(agent, chat):
    page = chat(agent([{"reasoning": "Let me see."}, {"wait": "never"}]))
    say(page, "Well?")

    expect(page.locator(".ending .now")).to_have_text("thinking…")
    expect(page.locator(".ending .clock")).to_have_text(re.compile(r"^ ([2-9]|[1-9]\d) s$"))
    page.keyboard.press("Escape")
    expect(runs(page, "cancelled")).to_have_count(1)
    expect(page.locator(".ending .clock")).to_have_text("")


def test_a_long_result_is_shown_in_part_until_somebody_wants_it_all(chat, agent):
    argument = {"expression": "1+" * 4000 + "1"}
    page = chat(agent([{"tool_call": {"name": "calculate", "arguments": argument}}], ANSWER))
    say(page, "Count.")
    expect(runs(page, "completed")).to_have_count(1)

    unfold(page)
    use = card(page, "tool_use")
    use.locator("summary").click()
    assert len(use.locator(".text").first.inner_text()) == 4000
    use.get_by_role("button", name="Show all").first.click()
    expect(use.locator(".text").first).to_have_text(json.dumps(argument, indent=2))
    assert json.loads(use.locator(".text").first.inner_text()) == argument


@pytest.fixture(scope="module")
def lay_out(open_lasting_page):
    """The function that lays JSON out, in the browser."""
    page = open_lasting_page()
    source = (ROOT / "chat_app/static/chat_app/chat/json.js").read_text()
    page.route("**/*", lambda route: route.fulfill(body=source, content_type="text/javascript"))
    page.goto("http://json.test/")
    return lambda text: page.evaluate(
        """async (text) => (await import("http://json.test/json.js")).laidOut(text)""", text
    )


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"a": [], "b": {}},
        [1, [2, [3]], {"k": None}],
        {'quote " and \\ and {': "a, b: [c]\n", "é": True},
        {"list": [{"x": 1.5e-3}, "two", False], "empty": ""},
    ],
)
def test_json_is_laid_out_as_python_would(lay_out, value):
    expected = json.dumps(value, indent=2, ensure_ascii=False)
    assert lay_out(json.dumps(value, ensure_ascii=False)) == expected
    assert lay_out(expected) == expected


def test_a_number_keeps_its_digits(lay_out):
    assert lay_out('{"id":12345678901234567890}') == '{\n  "id": 12345678901234567890\n}'


@pytest.mark.parametrize("text", ["84", "{not json}", "[1, 2", "", '"text"', "[1] and more"])
def test_what_is_no_json_stays_as_it_is(lay_out, text):
    assert lay_out(text) is None


def test_an_image_of_a_tool_is_shown(agent, chat, product, name, tmp_path):
    command = {"command": sys.executable, "args": [own_mcp_server.__file__], "env": {"EFFECTS": str(tmp_path / "log")}}
    command["folders"] = [{"path": str(tmp_path), "write": True}]  # the only one that its sandbox shows
    assert product.request("POST", "/v1/mcp-servers", {"name": name, "transport": "stdio", **command})[0] == 201
    call = {"tool_call": {"name": f"{name}__image", "arguments": {"data": PICTURE}}}
    page = chat(agent([call], [{"text": "There."}], mcp_servers=[name]))
    say(page, "Paint.")
    expect(runs(page, "completed")).to_have_count(1)
    unfold(page)
    image = page.locator('.item[data-type="tool_use"] .more img')
    image.scroll_into_view_if_needed()
    expect(image).to_have_js_property("naturalWidth", 2)
    expect(image).to_have_attribute("alt", "image/png")  # it has no name
    image.click()
    expect(page.get_by_role("dialog", name="image/png")).to_contain_text(re.compile(r"image/png · \d+ B"))


def test_a_summary_of_earlier_messages_is_a_line_that_opens(agent, chat, model, name):
    who = agent([{"text": "Fine. " * 400}, usage(1600, 400)], compact_at=20)
    model.script(name, [[{"text": "Fine. " * 400}, usage(1600, 400)]], summary=[{"text": "She counts words."}])
    page = chat(who)
    for number in range(1, 5):
        say(page, "word " * 600)
        expect(runs(page, "completed")).to_have_count(number)
    line = card(page, "compaction").first
    expect(line.locator(".title")).to_have_text("Earlier messages were summarized")
    expect(line.locator(".text")).to_be_hidden()
    line.locator("summary").click()
    expect(line.locator(".text")).to_contain_text("She counts words.")
    expect(page.locator(".run .ending").last).to_contain_text("context 24 % full")

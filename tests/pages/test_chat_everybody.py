"""The pages for everybody: screen readers, languages, writing directions, colour schemes."""

import re
import urllib.request

import pytest
from django.utils import translation
from playwright.sync_api import expect

from chat_app.pages.languages import catalogue
from tests.harness.pages.accessibility import expect_accessible
from tests.harness.pages.chat_page import CALCULATION, runs, say, text_of, unfold
from tests.harness.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_on_the_chat_page(agent, chat, width):
    code = "```python\ndef f(): return str(1) + 'a'  # c\n```"
    parts = ["# Title", "It is [84](https://example.com).", code, "$a$", "- [x] b", "|a|\n|-|\n|b|"]
    turns = CALCULATION, [{"text": "\n\n".join(parts)}]
    page = chat(agent(*turns, builtin_tools=["calculate"]), width=width)
    expect_accessible(page)
    say(page, "What is 12 × (3 + 4)?")
    expect(runs(page, "completed")).to_have_count(1)
    expect(text_of(page, "final_answer").locator("h3")).to_be_visible()
    unfold(page)
    for summary in page.locator("summary.label").all():
        summary.click()
    expect_accessible(page)


def test_axe_finds_nothing_where_a_person_is_asked(agent, chat):
    page = chat(agent(CALCULATION, [{"text": "84"}], builtin_tools=["calculate"], approval_required=["calculate"]))
    say(page, "What is 12 × (3 + 4)?")
    expect(page.get_by_role("button", name="Allow once", exact=True)).to_be_visible()
    expect_accessible(page)


def test_axe_finds_nothing_on_runs_and_tasks(agent, product, open_page, name):
    who = agent(CALCULATION, [{"text": "It is 84."}], builtin_tools=["calculate"])
    run = product.request("POST", f"/v1/agents/{who}/runs", {"message": "Go."})[1]["run_id"]
    fields = {"schedule_type": "interval", "schedule_value": "86400", "task_prompt": "Go."}
    task = product.request("POST", "/v1/tasks", {"name": name, "agent_name": who, **fields})[1]["id"]
    page = open_page()
    page.goto(f"{product.url}/runs/?run={run}")
    expect(page.locator("#run-status")).to_have_text("completed")
    expect(page.locator("#waterfall li")).to_have_count(5)
    expect_accessible(page)
    page.goto(f"{product.url}/tasks/?task={task}")
    expect(page.locator("#moments time")).to_have_count(5)
    page.locator(".more-fields summary").click()
    expect_accessible(page)
    product.request("DELETE", f"/v1/tasks/{task}")


def test_the_whole_page_works_with_the_keyboard_alone(agent, chat):
    page = chat(agent(CALCULATION, [{"text": "84"}], builtin_tools=["calculate"], approval_required=["calculate"]))
    page.locator("#message").focus()
    page.keyboard.type("What is 12 × (3 + 4)?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Allow once", exact=True)).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.classList.contains('approve')"):
            break
    page.keyboard.press("Enter")
    expect(runs(page, "completed")).to_have_count(1)


def test_a_german_browser_is_spoken_to_in_german(agent, product, open_page):
    who = agent(CALCULATION, [{"text": "84"}], builtin_tools=["calculate"])
    page = open_page()
    page.set_extra_http_headers({"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"})
    page.goto(f"{product.url}/chat/")
    expect(page.locator("#connection-words")).to_have_text("Verbunden")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("#send")).to_have_text("Senden")
    page.select_option("#agent", who)
    say(page, "Was ist 12 × (3 + 4)?")
    expect(runs(page, "completed")).to_have_count(1)
    expect(page.locator(".item .title")).to_have_text(["Überlegung", "calculate", "Antwort"])
    expect(page.locator(".ending .now")).to_have_text(re.compile("^Fertig .* 1 Werkzeugaufruf · Kontext zu .* % voll$"))


@pytest.mark.parametrize("accepted", ["fr", "*", "", "xx-YY;q=0.1", "en-GB"])
def test_any_other_browser_is_spoken_to_in_english(product, accepted):
    request = urllib.request.Request(f"{product.url}/runs/", headers={"Accept-Language": accepted})
    with urllib.request.urlopen(request) as answer:
        assert '<html lang="en">' in answer.read().decode()
        assert "Accept-Language" in answer.headers["Vary"]


def texts_of_scripts() -> set[str]:
    """All that the scripts hand to `gettext` and `ngettext` (of the latter, the one that looks the other up)."""
    call = re.compile(r"""\bn?gettext\(\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")
    sources = (ROOT / "chat_app/static/chat_app").rglob("*.js")
    return {one or other for source in sources for one, other in call.findall(source.read_text())}


def test_every_text_of_the_scripts_is_translated():
    texts = texts_of_scripts()
    assert len(texts) > 80
    with translation.override("de"):
        assert texts - set(catalogue()) == set()


def test_every_text_of_the_templates_is_translated():
    pattern = re.compile(r"""\{% translate (?:"([^"]*)"|'([^']*)')(?: as \w+)? %\}|\b_\(\s*"([^"]*)\"""")
    sources = [*(ROOT / "chat_app/templates").rglob("*.html"), *(ROOT / "chat_app").rglob("*.py")]
    texts = {"".join(result) for source in sources for result in pattern.findall(source.read_text())}
    assert len(texts) > 120
    same = {"API", "Chat", "Chats", "Agent", "Name", "Export", "support"}
    with translation.override("de"):
        assert {text for text in texts if translation.gettext(text) == text} - same == set()


def test_arabic_runs_from_right_to_left(agent, chat):
    page = chat(agent([{"text": "مرحبا، كيف حالك؟\n\nEnglish again."}]))
    say(page, "مرحبا")
    expect(text_of(page, "final_answer").locator("p")).to_have_count(2)

    expect(page.locator(".said")).to_have_css("direction", "rtl")
    first, second = text_of(page, "final_answer").locator("p").all()
    sides = """(p) => {
        const range = document.createRange();
        range.selectNodeContents(p);
        const [text, box] = [range.getBoundingClientRect(), p.getBoundingClientRect()];
        return text.left - box.left > box.right - text.right ? "right" : "left";
    }"""
    assert first.evaluate(sides) == "right"
    assert second.evaluate(sides) == "left"


def test_who_wants_no_motion_gets_none(agent, chat):
    page = chat(agent([{"text": "For ever "}, {"wait": "never"}]))
    page.emulate_media(reduced_motion="reduce")
    say(page, "Go on.")
    expect(text_of(page, "final_answer")).to_have_text("For ever ")

    assert page.evaluate("document.getAnimations().length") == 0
    page.click("#stop")
    expect(runs(page, "cancelled")).to_have_count(1)

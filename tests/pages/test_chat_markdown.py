"""Markdown of models in a real browser: rendered by the server, and never more than it may be."""

import pytest
from playwright.sync_api import Page, expect

from chat_app.pages.markdown import LONGEST_TEXT, to_html
from tests.harness.pages.chat_page import expect_connected, runs, say, text_of

pytestmark = pytest.mark.slow

ATTACKS = [
    "<script>broken()</script>",
    "<img src=x onerror=broken()>",
    "<svg/onload=broken()>",
    "<iframe srcdoc='<script>parent.broken()</script>'></iframe>",
    "<style>*{display:none}</style>",
    "<a href='javascript:broken()'>x</a>",
    "<details open ontoggle=broken()>",
    "<form action=/admin/><button>x</button></form>",
    "<base href='http://evil.test/'>",
    "<meta http-equiv=refresh content='0;url=http://evil.test/'>",
    "[x](javascript:broken())",
    "[x](JaVaScRiPt:broken())",
    "[x](java\nscript:broken())",
    "[x](&#106;avascript:broken())",
    "[x](\x01javascript:broken())",
    "[x](data:text/html,<script>broken()</script>)",
    "[x](vbscript:broken())",
    "[x](//evil.test/)",
    "[x](/admin/logout/)",
    "[x](file:///etc/passwd)",
    "<javascript:broken()>",
    "![x](http://evil.test/track.png)",
    "![x](data:image/svg+xml,<svg/onload=broken()>)",
    "![](javascript:broken())",
    '![x" onerror="broken()](http://evil.test/a)',
    '[x](http://evil.test/" onmouseover="broken())',
    '[x](http://evil.test "a" onmouseover="broken())',
    '```"><img src=x onerror=broken()>\ncode\n```',
    "```html onload=broken()\n<script>broken()</script>\n```",
    "[x]: javascript:broken()\n\n[x]",
    'http://evil.test/"onmouseover="broken()',
    "| <img src=x onerror=broken()> |\n|-|\n| [x](javascript:broken()) |",
    "<<script>script>broken()<</script>/script>",
    "</div></li></ol></main><h1>taken over</h1>",
    "<!--><img src=x onerror=broken()>-->",
    "<math><mtext></p><img src=x onerror=broken()>",
    "\u202e<img src=x onerror=broken()>",
]


def test_an_answer_is_shown_as_what_its_markdown_means(agent, chat):
    parts = "# Result", "**84**, see [docs](https://example.com/).", "1. one\n2. two", "```python\nprint(1)\n```"
    page = chat(agent([{"text": "\n\n".join([*parts, "|a|\n|-|\n|b|"])}]))
    say(page, "Well?")

    answer = text_of(page, "final_answer")
    expect(answer.locator("h3")).to_have_text("Result")
    expect(answer.locator("strong")).to_have_text("84")
    expect(answer.locator("ol > li")).to_have_text(["one", "two"])
    expect(answer.locator("pre code.language-python")).to_have_text("print(1)\n")
    expect(answer.locator("td")).to_have_text("b")
    link = answer.locator("a")
    expect(link).to_have_attribute("href", "https://example.com/")
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")


def test_an_answer_without_reasoning_is_rendered_too(agent, chat):
    page = chat(agent([{"text": "It is **84**."}]))
    page.uncheck("#reasoning")
    say(page, "Well?")

    expect(text_of(page, "response").locator("strong")).to_have_text("84")


def test_prose_stands_where_it_stood_while_it_streamed(agent, chat, model):
    prose = "\n\n".join(f"Paragraph {number} of some prose.\nIts second line." for number in range(5))
    page = chat(agent([{"text": prose}, {"wait": "measured"}]))
    say(page, "Well?")
    answer = text_of(page, "final_answer")
    expect(answer).to_contain_text("Paragraph 4 of some prose.\nIts second line.")
    before = answer.bounding_box()

    model.release("measured")
    expect(answer.locator("p")).to_have_count(5)
    assert answer.bounding_box()["height"] == pytest.approx(before["height"], abs=1)


def test_no_attack_gets_through_in_a_real_page(agent, chat):
    everything = "\n\n".join(ATTACKS)
    call = {"tool_call": {"name": everything[:60], "arguments": {everything[:200]: everything}}}
    page = chat(agent([{"reasoning": everything}, call], [{"text": everything}], role=everything[:90]))
    fetched = []
    page.expose_function("broken", lambda: fetched.append("a script"))
    page.on("request", lambda request: fetched.append(request.url) if "evil.test" in request.url else None)
    page.on("dialog", lambda dialog: fetched.append("a dialog"))
    say(page, everything)
    expect(runs(page, "completed")).to_have_count(1)
    expect(text_of(page, "final_answer").locator("p").first).to_be_visible()
    for summary in page.locator("summary.label").all():
        summary.click()
    page.reload()
    expect_connected(page)
    expect(text_of(page, "final_answer").locator("p").first).to_be_visible()

    assert page.locator("#transcript").locator("script, img, svg, iframe, style, form, base, meta, h1").count() == 0
    schemes = page.locator("#transcript .text a").evaluate_all("links => links.map((link) => link.protocol)")
    assert set(schemes) <= {"http:", "https:", "mailto:"}
    handlers = page.locator("#transcript *").evaluate_all(
        "nodes => nodes.flatMap((node) => node.getAttributeNames().filter((name) => name.startsWith('on')))"
    )
    assert handlers == []
    assert fetched == []


def test_no_attack_gets_through_on_the_other_pages(agent, open_page, product, name):
    """Names, titles, prompts, questions, errors: all that people and models write is text there."""
    everything = "\n\n".join(ATTACKS)
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": everything}}}
    asks = {"builtin_tools": ["calculate"], "approval_required": ["calculate"]}
    who = agent(
        [call],
        [{"status": 400, "body": {"error": {"message": f"Refused: {everything}"}}}],
        description=everything,
        **asks,
    )
    task_name = f"{name} {ATTACKS[1]}"
    fields = {"task_prompt": everything, "description": everything, "agent_name": who, "enabled": False}
    fields |= {"schedule_type": "interval", "schedule_value": "86400"}
    task = product.request("POST", "/v1/tasks", {"name": task_name, **fields})[1]["id"]
    run = product.request("POST", f"/v1/tasks/{task}/run", {})[1]
    product.request("PATCH", f"/v1/sessions/{run['session_id']}", {"title": f"{name} {ATTACKS[2]}"})
    page = open_page()
    broken = []
    page.expose_function("broken", lambda: broken.append("a script"))
    page.on("request", lambda request: broken.append(request.url) if "evil.test" in request.url else None)

    page.goto(f"{product.url}/runs/?run={run['run_id']}&task={task}")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator("#run-status")).to_have_text("failed")
    expect(page.locator("#filter-task option:checked")).to_have_text(task_name)
    for summary in page.locator("#cards summary.label").all():
        summary.click()
    expect_harmless(page)
    page.goto(f"{product.url}/tasks/?task={task}")
    expect(page.locator("#history-list li")).to_have_count(1)
    expect(page.locator("#task-title")).to_have_text(task_name)
    page.get_by_role("button", name="Delete").click()
    expect_harmless(page)
    page.goto(f"{product.url}/chat/?session={run['session_id']}")
    expect(runs(page, "failed")).to_have_count(1)
    page.check("#all-sessions")
    expect(page.locator("#sessions li", has_text=f"{name} {ATTACKS[2]}")).to_have_count(1)
    expect_harmless(page)
    assert broken == []
    product.request("DELETE", f"/v1/tasks/{task}")


def expect_harmless(page: Page) -> None:
    assert page.locator("main").locator("script, img, iframe, style, base, meta").count() == 0
    handlers = page.locator("body *").evaluate_all(
        "nodes => nodes.flatMap((node) => node.getAttributeNames().filter((name) => name.startsWith('on')))"
    )
    assert handlers == []
    schemes = page.locator("main a").evaluate_all("links => links.map((link) => link.protocol)")
    assert set(schemes) <= {"http:", "https:", "mailto:"}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_the_server_makes_of_an_attack_is_harmless(attack, open_page):
    html = to_html(attack)
    page = open_page()
    names = page.evaluate(
        """(html) => {
            const parsed = new DOMParser().parseFromString(html, "text/html").body;
            return [...parsed.querySelectorAll("*")].flatMap((node) => [
                node.localName,
                ...node.getAttributeNames().map((name) => `${node.localName}[${name}]`),
                ...(node.href ? [new URL(node.href).protocol] : []),
            ]);
        }""",
        html,
    )
    allowed = {"p", "a", "br", "pre", "code", "table", "thead", "tbody", "tr", "th", "td", "em", "strong"}
    allowed |= {"a[href]", "a[title]", "a[rel]", "a[target]", "code[class]", "http:", "https:"}
    assert set(names) <= allowed, html
    page.context.close()


def test_a_text_that_is_too_long_stays_text():
    assert to_html("x" * LONGEST_TEXT) is not None
    assert to_html("x" * (LONGEST_TEXT + 1)) is None


@pytest.mark.parametrize("query", ["", "?step=", "?step=x", "?step=1,,2", "?step=-1", f"?step={'1,' * 50}1"])
def test_a_bad_list_of_steps_is_refused(product, agent, query):
    _, run = product.request("POST", f"/v1/agents/{agent([{'text': 'Hi.'}])}/runs", {"message": "Hi"})
    status, answer = product.request("GET", f"/chat/runs/{run['run_id']}/steps{query}")

    assert status == 400
    assert answer["error"]["param"] == "step"


def test_steps_of_a_run_that_is_not_there_are_not_found(product):
    status, _ = product.request("GET", "/chat/runs/00000000-0000-0000-0000-000000000000/steps?step=1")
    assert status == 404

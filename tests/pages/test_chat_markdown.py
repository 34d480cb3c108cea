"""Markdown of models in a real browser: rendered by the server, and never more than it may be."""

import pytest
from playwright.sync_api import Page, Route, expect

from chat_app.pages.markdown import LONGEST_TEXT, to_html
from tests.harness.pages.chat_page import copy_with, expect_connected, runs, say, text_of, unfold
from tests.harness.paths import ROOT

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
    "$\\href{javascript:broken()}{x}$ \\(\\text{<img src=x onerror=broken()>}\\)",
    "$$\n\\text{</mtext></math><img src=x onerror=broken()>}\n$$",
    "\\[\n\\style{x:url(http://evil.test/)}{\\class{a}{y}}\n\\]",
    "```js\nx = '</span><img src=x onerror=broken()>' // </code></pre><script>broken()</script>\n```",
    '```python"onload=broken()\nx = 1',
    "- [x] <img src=x onerror=broken()>\n- [ ] [x](javascript:broken())",
    "Text[^sessions], [^message].\n\n[^sessions]: <img src=x onerror=broken()>\n[^message]: [x](javascript:broken())",
    "**<b onclick=broken()>[x](javascript:broken()) `<img src=x onerror=broken()>`**",
    '```python"onload=broken()\nx = 1',  # the last one: it is not closed
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


def test_an_answer_without_reasoning_is_rendered_too(agent, chat, open_chat, name):
    page = chat(who := agent([{"text": "It is **84**."}]))
    open_chat(name).ask("Well?", agent_name=who, enable_reasoning=False)
    page.goto(f"{page.url.partition('?')[0]}?session={name}")

    expect(text_of(page, "response").locator("strong")).to_have_text("84")


STREAMED = """## Result

Some *prose* with `code`,
on two **lines**.

- one
- two
  - nested

1. first
2. second

> quoted

| a | b |
|:--|--:|
| 1 | 2 |

```python
def double(x):
    return 2 * x
```

### Smaller

The **last"""


def test_text_is_formatted_while_it_streams_and_stays_where_it_is(agent, chat, model, name):
    page = chat(agent([{"text": STREAMED, "chunk": 9}, {"wait": name}, {"text": "** words."}]))
    say(page, "Well?")
    answer = text_of(page, "final_answer")
    expect(answer.locator("pre .c-k").first).to_have_text("def")  # the server has rendered it
    expect(answer.locator("strong").last).to_have_text("last")
    expect(answer.locator("h3")).to_have_text("Result")
    expect(answer.locator("h4")).to_have_text("Smaller")
    expect(answer.locator("td.right")).to_have_text("2")
    assert "**" not in answer.inner_text()
    before = answer.bounding_box()

    model.release(name)
    expect(page.locator('.item[data-type="final_answer"][data-rendering="done"]')).to_have_count(1)
    expect(answer).to_contain_text("The last words.")
    assert answer.bounding_box()["height"] == pytest.approx(before["height"], abs=1)


def test_what_is_formatted_here_is_as_high_as_what_the_server_renders(agent, chat, model, name):
    """Each block is shown twice: nothing below it may move when the server's takes the place of ours."""
    page = chat(agent([{"text": STREAMED}, {"wait": name}]))
    page.route("**/chat/blocks", lambda route: route.abort())
    say(page, "Well?")
    answer = text_of(page, "final_answer")
    expect(answer.locator("strong").last).to_have_text("last")
    before = answer.bounding_box()

    page.unroute("**/chat/blocks")
    expect(answer.locator("pre .c-k").first).to_have_text("def")
    assert answer.bounding_box()["height"] == pytest.approx(before["height"], abs=1)
    model.release(name)
    expect(runs(page, "completed")).to_have_count(1)


def test_a_stopped_answer_is_rendered_also_after_a_reload(agent, chat, name):
    page = chat(agent([{"text": "# Half\n\nIt is **so"}, {"wait": name}]))
    say(page, "Well?")
    expect(text_of(page, "final_answer")).to_contain_text("It is so")
    page.keyboard.press("Escape")
    expect(runs(page, "cancelled")).to_have_count(1)
    for _ in range(2):
        answer = text_of(page, "final_answer")
        expect(answer.locator("h3")).to_have_text("Half")
        expect(answer.locator("p")).to_have_text("It is **so")
        expect(page.locator('.item[data-rendering="done"]')).to_have_count(1)
        page.reload()
        expect_connected(page)


def test_an_old_answer_is_formatted_before_the_server_has_rendered_it(agent, chat):
    page = chat(agent([{"text": "It is **84**.\n\n|a|\n|-|\n|b|"}]))
    say(page, "Well?")
    expect(runs(page, "completed")).to_have_count(1)
    page.route("**/steps?*", lambda route: route.abort())
    page.reload()

    expect(text_of(page, "final_answer").locator("strong")).to_have_text("84")
    expect(text_of(page, "final_answer").locator("td")).to_have_text("b")
    page.unroute("**/steps?*")
    expect(page.locator('.item[data-rendering="done"]')).to_have_count(1)


def test_formulas_tasks_footnotes_and_code_have_their_forms(agent, chat, product):
    parts = [r"So \( a^2 \), $b_1$, for $5 or $6, \frac:", r"\[" + "\n" + r"\frac{x}{2}" + "\n= y\n" + r"\]"]
    parts += ["- [x] done\n- [ ] open", "Said[^1].", "```sh\nls -la\n```", "[^1]: Here."]
    page = chat(agent([{"text": "\n\n".join(parts)}]))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=product.url)
    say(page, "Well?")

    answer = text_of(page, "final_answer")
    expect(answer.locator("ol.footnotes li")).to_have_text("Here.")
    expect(answer.locator("math")).to_have_count(3)
    expect(answer.locator("math[display=block] mfrac")).to_have_count(1)
    expect(answer).to_contain_text("$5 or $6")
    expect(answer.locator(".task.done")).to_have_count(1)
    expect(answer.locator(".task-item")).to_have_text(["[x] done", "[ ] open"])
    answer.get_by_role("button", name="1").click()
    expect(answer.locator("ol.footnotes li")).to_be_focused()
    expect(answer.locator(".language")).to_have_text("sh")
    answer.get_by_role("button", name="Wrap").click()
    expect(answer.locator(".code")).to_have_class("code wrapped")
    assert copy_with(page, answer.locator(".code-copy")) == "ls -la\n"


def test_no_attack_gets_through_in_a_real_page(agent, chat, model, name):
    everything = "\n\n".join(ATTACKS)
    call = {"tool_call": {"name": everything[:60], "arguments": {everything[:200]: everything}}}
    answer = [{"text": everything}, {"wait": name}]
    page = chat(agent([{"reasoning": everything}, call], answer, role=everything[:90]), is_new=True)
    fetched = []
    page.expose_function("broken", lambda: fetched.append("a script"))
    page.on("request", lambda request: fetched.append(request.url) if "evil.test" in request.url else None)
    page.on("dialog", lambda dialog: fetched.append("a dialog"))
    say(page, everything)
    expect(text_of(page, "final_answer").locator("math").first).to_be_visible()
    expect_nothing_foreign(page)
    model.release(name)
    expect(runs(page, "completed")).to_have_count(1)
    expect(text_of(page, "final_answer").locator("p").first).to_be_visible()
    unfold(page)
    for summary in page.locator("summary.label").all():
        summary.click()
    page.reload()
    expect_connected(page)
    expect(text_of(page, "final_answer").locator("p").first).to_be_visible()

    expect_nothing_foreign(page)
    assert fetched == []


def expect_nothing_foreign(page: Page) -> None:
    transcript = page.locator("#transcript")
    assert transcript.locator("script, img, iframe, style, form, base, meta, h1, input, annotation-xml").count() == 0
    assert transcript.locator(".text :is([id], [name], [style])").count() == 0
    schemes = page.locator("#transcript .text a").evaluate_all("links => links.map((link) => link.protocol)")
    assert set(schemes) <= {"http:", "https:", "mailto:"}
    handlers = page.locator("#transcript *").evaluate_all(
        "nodes => nodes.flatMap((node) => node.getAttributeNames().filter((name) => name.startsWith('on')))"
    )
    assert handlers == []


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
    page = open_page(is_new=True)
    broken = []
    page.expose_function("broken", lambda: broken.append("a script"))
    page.on("request", lambda request: broken.append(request.url) if "evil.test" in request.url else None)

    page.goto(f"{product.url}/runs/?run={run['run_id']}&task={task}")
    page.get_by_role("button", name="Allow once", exact=True).click()
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


ALLOWED = {"p", "a", "br", "pre", "code", "table", "thead", "tbody", "tr", "th", "td", "em", "strong", "ul", "ol", "li"}
ALLOWED |= {"a[href]", "a[title]", "a[rel]", "a[target]", "code[class]", "http:", "https:"}
ALLOWED |= {"div", "div[class]", "span", "span[class]", "ol[class]", "li[class]", "sup", "sup[class]"}
ALLOWED |= {"math", "math[display]", "mrow", "mi", "mtext", "mo", "mstyle"}
NAMES = """(nodes) => nodes.flatMap((node) => [
    node.localName,
    ...node.getAttributeNames().map((name) => `${node.localName}[${name}]`),
    ...(node.href ? [new URL(node.href).protocol] : []),
])"""


def test_what_the_server_makes_of_an_attack_is_harmless(open_page):
    page = open_page()
    for attack in ATTACKS:
        html = to_html(attack)
        parsed = """(html) => [...new DOMParser().parseFromString(html, "text/html").body.querySelectorAll("*")]"""
        names = page.evaluate(f"(html) => ({NAMES})(({parsed})(html))", html)
        assert set(names) <= ALLOWED, html


def test_what_the_page_makes_of_an_attack_while_it_comes_is_harmless(open_page):
    """Each beginning of each attack: nothing of it is an element that does something, and no text is lost."""
    page = open_page()
    page.route("http://chat.test/**", serve_static)
    page.goto("http://chat.test/")
    names = page.evaluate(
        f"""async (attacks) => {{
            const {{ OpenBlock }} = await import("http://chat.test/chat_app/markdown/open_block.js");
            const root = document.createElement("div");
            const names = new Set();
            for (const attack of attacks) {{
                const view = new OpenBlock(root);
                for (let end = 1; end <= attack.length; end += 1) {{
                    view.show(attack.slice(0, end), 0, true);
                    ({NAMES})([...root.querySelectorAll("*")]).forEach((name) => names.add(name));
                }}
                view.replace([]);
            }}
            return [...names];
        }}""",
        ATTACKS,
    )
    assert set(names) <= ALLOWED | {"button", "button[type]", "button[class]", "pre[tabindex]", "h3", "s"}


def serve_static(route: Route) -> None:
    """Answer with a script of ours, or an empty page."""
    path = route.request.url.removeprefix("http://chat.test/")
    if path.endswith(".js"):
        body = (ROOT / "chat_app/static" / path).read_text()
        route.fulfill(body=body, content_type="text/javascript")
    else:
        route.fulfill(body="<main></main>", content_type="text/html")


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


BAD_BLOCKS = [{}, {"blocks": []}, {"blocks": "x"}, {"blocks": [{}]}, {"blocks": [{"text": 1, "first_title": 7}]}]
BAD_BLOCKS += [{"blocks": [{"text": "x"}] * 101}, {"blocks": [{"text": "x" * 100_001}] * 2}]


@pytest.mark.parametrize("body", BAD_BLOCKS)
def test_bad_blocks_are_refused(product, body):
    status, answer = product.request("POST", "/chat/blocks", body)

    assert status == 400
    assert "blocks" in answer["error"]["message"] or "blocks" in str(answer["error"])


def test_blocks_are_rendered_for_those_who_may_come_in(product, closed_product):
    blocks = {"blocks": [{"text": "# a"}, {"text": "### b", "first_title": 2}, {"text": "x" * (LONGEST_TEXT + 1)}]}

    assert [block["html"] for block in product.request("POST", "/chat/blocks", blocks)[1]["data"]] == [
        "<h3>a</h3>\n",
        "<h4>b</h4>\n",
        None,
    ]
    assert closed_product.request("POST", "/chat/blocks", blocks)[0] == 401

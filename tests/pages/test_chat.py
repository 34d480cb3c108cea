"""The chat page in a real browser, on a real server; only the model is a fake one."""

import re

import pytest
from playwright.sync_api import Route, expect

from tests.harness.documents import picture
from tests.harness.pages.chat_page import CALCULATION, expect_connected, runs, say, text_of, words
from tests.harness.paths import ROOT

# On a running server


def test_steps_appear_while_the_agent_works(agent, chat, model):
    answer = [{"text": "It is "}, {"wait": "calculated"}, {"text": "84."}]
    page = chat(agent(CALCULATION, answer, builtin_tools=["calculate"]))
    say(page, "What is 12 × (3 + 4)?")

    expect(text_of(page, "thought")).to_have_text("I had better calculate 🧮 that.\n\nPlainly.")
    expect(text_of(page, "tool_use")).to_have_text('{\n  "expression": "12 * (3 + 4)"\n}')
    expect(text_of(page, "tool_result")).to_have_text("84")
    expect(text_of(page, "final_answer")).to_have_text("It is ")
    expect(page.locator('.item[data-type="final_answer"]')).to_have_attribute("data-status", "streaming")
    expect(page.locator(".ending")).to_contain_text("answering…")
    expect(page.locator("#stop")).to_be_visible()

    model.release("calculated")
    expect(runs(page, "completed")).to_have_count(1)
    expect(text_of(page, "final_answer")).to_have_text("It is 84.")
    expect(page.locator(".ending .now")).to_have_text(
        re.compile(r"^Completed · .* m?s · .* in · .* out tokens · 1 tool call · context \d+ % full$")
    )
    expect(page.locator("#stop")).to_be_hidden()
    steps = page.locator(".item").evaluate_all("items => items.map((item) => Number(item.dataset.step))")
    assert len(steps) == 4
    assert steps == sorted(steps)  # a result is part of its call


def test_a_reload_shows_the_same(agent, chat):
    page = chat(agent(CALCULATION, [{"text": "It is 84."}], builtin_tools=["calculate"]))
    say(page, "What is 12 × (3 + 4)?")
    expect(runs(page, "completed")).to_have_count(1)
    before = words(page)

    page.reload()
    expect(runs(page, "completed")).to_have_count(1)
    assert words(page) == before


def test_a_tab_that_joins_late_agrees_with_the_first(agent, chat, model):
    first = chat(agent([{"text": "One, two, "}, {"wait": "joined"}, {"text": "three."}]))
    say(first, "Count.")
    expect(text_of(first, "final_answer")).to_have_text("One, two, ")

    late = first.context.new_page()
    late.goto(first.url)
    expect(text_of(late, "final_answer")).to_have_text("One, two, ")
    expect(late.locator(".said")).to_have_text("Count.")

    model.release("joined")
    for tab in (first, late):
        expect(runs(tab, "completed")).to_have_count(1)
    assert words(late) == words(first)


def test_stop_hangs_up_on_the_model(agent, chat, model):
    name = agent([{"text": "For ever and "}, {"wait": "never"}])
    page = chat(name)
    say(page, "Go on.")
    expect(text_of(page, "final_answer")).to_have_text("For ever and ")

    page.click("#stop")
    expect(runs(page, "cancelled")).to_have_count(1)
    expect(page.locator(".ending .now")).to_have_text(re.compile("^Stopped · "))
    assert model.wait_for_abort(name)


def test_a_message_sent_while_the_agent_answers_waits_for_its_turn(agent, chat, model):
    page = chat(agent([{"wait": "asked twice"}, {"text": "Yes."}]))
    say(page, "First?")
    expect(runs(page, "running")).to_have_count(1)
    say(page, "Second?")
    expect(runs(page, "pending")).to_have_text("Second?Queued")

    model.release("asked twice")
    expect(runs(page, "completed")).to_have_count(2)
    expect(runs(page, "pending")).to_have_count(0)
    expect(page.locator(".said")).to_have_text(["First?", "Second?"])


@pytest.mark.slow
def test_a_killed_server_loses_no_message(chat, model, name, own_product):
    turn = [{"text": "Half "}, {"only_first": 1, "do": [{"wait": "never"}]}, {"text": "and whole."}]
    model.script(name, [turn])
    own_product.add_agent(name, model.base_url)
    page = chat(name, on=own_product)
    page.set_input_files("#file-input", [{"name": "a.png", "mimeType": "image/png", "buffer": picture(500, 400)}])
    expect(page.locator('.upload[data-status="uploaded"]')).to_have_count(1)
    say(page, "Before.")
    expect(text_of(page, "final_answer")).to_have_text("Half ")
    thumbnail = page.get_by_role("img", name="a.png")
    expect(thumbnail).to_have_js_property("naturalWidth", 480)

    own_product.kill()
    expect(page.locator("#connection")).to_have_attribute("data-state", re.compile("waiting|connecting"))
    say(page, "Meanwhile.")
    expect(runs(page, "pending")).to_have_text("Meanwhile.Offline – will be sent when you reconnect")

    own_product.start()
    expect_connected(page)
    expect(runs(page, "completed")).to_have_count(2, timeout=60_000)
    expect(page.locator(".said")).to_have_text(["Before.", "Meanwhile."])
    expect(text_of(page, "final_answer")).to_have_text(["Half and whole."] * 2)
    expect(text_of(page, "retry")).to_have_count(1)
    before = words(page)
    page.reload()
    expect(runs(page, "completed")).to_have_count(2)
    assert words(page) == before
    expect(thumbnail).to_have_js_property("naturalWidth", 480)


@pytest.mark.slow
def test_a_page_left_open_over_a_new_database_begins_anew(chat, model, name, own_product):
    model.script(name, [[{"text": "Remember me."}]])
    own_product.add_agent(name, model.base_url)
    page = chat(name, on=own_product)
    say(page, "Hello.")
    expect(runs(page, "completed")).to_have_count(1)

    own_product.kill()
    for file in own_product.var_dir.glob("db.sqlite3*"):
        file.unlink()
    own_product.start()
    expect_connected(page)
    expect(page.locator(".run")).to_have_count(0)
    own_product.add_agent(name, model.base_url)
    say(page, "Hello again.")
    expect(runs(page, "completed")).to_have_count(1)
    expect(page.locator(".said")).to_have_text("Hello again.")


def test_reasoning_is_hidden_and_still_there(agent, chat):
    page = chat(agent([{"reasoning": "Hm."}, {"text": "Done."}]))
    page.uncheck("#reasoning")
    say(page, "Be quick.")

    expect(runs(page, "completed")).to_have_count(1)
    expect(page.locator(".item .text:visible")).to_have_text(["Done."])
    page.reload()
    expect(runs(page, "completed")).to_have_count(1)
    expect(page.locator("#reasoning")).not_to_be_checked()
    expect(page.locator(".item .text:visible")).to_have_text(["Done."])
    page.check("#reasoning")
    expect(page.locator('.item[data-type="thought"]')).to_be_visible()


def test_a_failure_says_why_once(agent, chat):
    page = chat(agent([{"status": 401}]))
    say(page, "Hello?")

    expect(runs(page, "failed")).to_have_count(1)
    expect(page.locator('.item[data-type="error"]')).to_have_count(1)
    expect(page.locator('.item[data-type="error"]')).to_have_attribute("data-status", "failed")


def test_markup_stays_text(agent, chat):
    markup = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"
    page = chat(agent([{"text": f"You said {markup}"}]))
    say(page, markup)

    expect(text_of(page, "final_answer")).to_have_text(f"You said {markup}")
    expect(page.locator(".said")).to_have_text(markup)
    assert page.title().endswith("Chat · AInTandem"), "with the number of what waits in other chats, perhaps"


def test_a_refused_message_comes_back_to_where_it_was_typed(agent, chat, product):
    name = agent([{"text": "Never said."}])
    page = chat(name)
    product.request("PATCH", f"/v1/agents/{name}", {"enabled": False})
    say(page, "Are you there?")

    expect(page.locator("#problem")).to_contain_text(name)
    expect(page.locator("#message")).to_have_value("Are you there?")
    expect(runs(page, "pending")).to_have_count(0)


def test_a_message_that_is_too_long_is_not_sent(agent, chat):
    page = chat(agent([{"text": "Never said."}]))
    say(page, "😀" * 100_001)

    expect(page.locator("#problem")).to_contain_text("longer than 100,000 characters")
    assert len(page.input_value("#message")) == 100_001


def test_shift_and_enter_break_the_line(agent, chat):
    page = chat(agent([{"text": "Nice."}]))
    page.fill("#message", "one")
    page.press("#message", "Shift+Enter")
    page.locator("#message").press_sequentially("two")
    page.press("#message", "Enter")

    expect(page.locator(".said")).to_have_text("one\ntwo")


def test_a_phone_shows_it_all_without_scrolling_sideways(agent, chat):
    page = chat(agent([{"text": "w" * 500}]), width=360, height=640, color_scheme="dark")
    say(page, "x" * 500)

    expect(runs(page, "completed")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_session_id_that_cannot_be_is_answered_with_advice(open_page, product):
    page = open_page()
    page.goto(f"{product.url}/chat/?session=what%20is%20this")

    expect(page.locator("#notice")).to_contain_text("Start a new chat")
    page.click("#new-chat")
    expect_connected(page)


# The folding alone


@pytest.fixture(scope="module")
def fold(open_lasting_page):
    """A function that folds frames in the browser: whether each was taken, and the items of the run."""
    page = open_lasting_page()
    scripts = ROOT / "chat_app/static/chat_app/chat"

    def serve(route: Route) -> None:
        script = scripts / route.request.url.rpartition("/")[2]
        route.fulfill(body=script.read_text() if script.is_file() else "", content_type="text/javascript")

    page.route("**/*", serve)
    page.goto("http://fold.test/")
    program = """async (frames) => {
        const { Conversation } = await import("http://fold.test/fold.js");
        const conversation = new Conversation();
        const taken = frames.map((frame) => conversation.take({ run_id: "run", ...frame }));
        const items = conversation.runs.get("run")?.items ?? [];
        return [taken, items.map((item) => [item.type, item.status, item.text])];
    }"""
    return lambda *frames: page.evaluate(program, list(frames))


def delta(
    seq: int,
    offset: int,
    content: str,
    *,
    first: int | None = None,
    step: int = 1,
    kind: str = "final_answer",
):
    data = {"step": step, "type": kind, "iteration": 1, "offset": offset, "content": content}
    return {"type": "reasoning_delta", "seq": seq, "first": first or seq, "data": data}


def step(seq: int, content: str, *, first: int, number: int = 1, kind: str = "thought"):
    data = {"step": number, "type": kind, "iteration": 1, "content": content}
    return {"type": "reasoning_step", "seq": seq, "first": first, "data": data}


def retry(seq: int, number: int):
    data = {"step": number, "attempt": 1, "reason": "It broke off.", "delay_ms": 500}
    return {"type": "retry", "seq": seq, "data": data}


def test_a_merged_delta_that_begins_before_the_cursor_heals_itself(fold):
    taken, items = fold(delta(1, 0, "a🧮b"), delta(2, 3, "c"), delta(4, 1, "🧮bcde", first=1))

    assert taken == [True, True, True]
    assert items == [["final_answer", "streaming", "a🧮bcde"]]


def test_frames_that_were_taken_before_change_nothing(fold):
    _, items = fold(delta(1, 0, "ab"), delta(2, 2, "cd"), delta(1, 0, "ab"), delta(2, 2, "cd", first=1))

    assert items == [["final_answer", "streaming", "abcd"]]


def test_a_frame_after_a_gap_is_not_taken(fold):
    taken, items = fold(delta(1, 0, "ab"), delta(3, 4, "ef"))

    assert taken == [True, False]
    assert items == [["final_answer", "streaming", "ab"]]


def test_a_finished_step_replaces_its_deltas_and_their_type(fold):
    _, items = fold(delta(1, 0, "Let me "), delta(2, 7, "see"), step(3, "Let me look.", first=1))

    assert items == [["thought", "finished", "Let me look."]]


def test_a_retry_discards_the_unfinished_steps_that_begin_again(fold):
    _, items = fold(
        step(1, "Sure.", first=1),
        delta(2, 0, "Half", step=2),
        delta(3, 0, '{"x"', step=3, kind="tool_use"),
        retry(4, 2),
        retry(5, 3),
        delta(6, 0, "Whole", step=2),
    )

    assert items == [
        ["thought", "finished", "Sure."],
        ["retry", "finished", "It broke off."],
        ["final_answer", "streaming", "Whole"],
    ]


def test_steps_stand_in_their_order_however_they_finish(fold):
    _, items = fold(
        step(1, "b", first=1, number=3, kind="tool_result"),
        step(2, "a", first=2, number=2, kind="tool_result"),
    )

    assert [text for _, _, text in items] == ["a", "b"]

"""The page of runs in a real browser: the list, the waterfall that grows, the replay."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.harness.pages.chat_page import CALCULATION
from tests.harness.wait import until

pytestmark = pytest.mark.slow


@pytest.fixture
def start(product):
    """A function that starts a run; returns its id."""

    def start(agent: str, message: str = "Go on.", **fields) -> str:
        status, answer = product.request("POST", f"/v1/agents/{agent}/runs", {"message": message, **fields})
        assert status == 202, answer
        return answer["run_id"]

    return start


@pytest.fixture
def runs_page(product, open_page):
    def open_at(**query) -> Page:
        options = {name: query.pop(name) for name in ("width", "height") if name in query}
        page = open_page(**options)
        page.goto(f"{product.url}/runs/?" + "&".join(f"{name}={value}" for name, value in query.items()))
        return page

    return open_at


def bars(page: Page) -> Locator:
    return page.locator("#waterfall li")


def width_of(page: Page, kind: str) -> float:
    return page.locator(f'#waterfall [data-type="{kind}"] .bar-of-time').bounding_box()["width"]


def test_runs_are_listed_by_agent_and_status(agent, start, runs_page, product):
    who = agent([{"text": "Yes."}])
    page = runs_page()
    run = start(who, "A question")
    expect(page.locator(f'#runs [data-run="{run}"]')).to_have_attribute("data-status", "completed")
    expect(page.locator(f'#filter-agent option[value="{who}"]')).to_have_count(1)
    page.select_option("#filter-agent", who)
    expect(page.locator("#runs li")).to_have_count(1)
    expect(page.locator("#runs li")).to_contain_text("A question")
    page.select_option("#filter-status", "failed")
    expect(page.locator("#no-runs")).to_be_visible()

    page.reload()
    expect(page.locator("#no-runs")).to_be_visible()
    page.select_option("#filter-status", "completed")
    page.locator("#runs li a").click()
    expect(page.locator("#run-agent")).to_have_text(who)


def test_runs_of_one_chat_or_of_one_task(agent, start, runs_page, product, name):
    who = agent([{"text": "Yes."}])
    in_chat = [start(who, message, session_id=name) for message in ("One", "Two")]
    fields = {"agent_name": who, "task_prompt": "Three", "schedule_type": "interval", "schedule_value": "86400"}
    task = product.request("POST", "/v1/tasks", {"name": name} | fields)[1]["id"]
    product.request("POST", f"/v1/tasks/{task}/run", {})
    page = runs_page(session=name)
    expect(page.locator("#runs li")).to_have_count(2)
    page.get_by_role("button", name="This chat only").click()
    page.select_option("#filter-agent", who)
    expect(page.locator("#runs li")).to_have_count(3)
    page.select_option("#filter-task", label=name)
    expect(page.locator("#runs li")).to_have_count(1)
    page.locator("#runs li a").click()
    expect(page.locator("#run-trigger a")).to_have_attribute("href", f"/tasks/?task={task}")

    ids = [run["id"] for run in product.request("GET", f"/v1/runs?session={name}")[1]["data"]]
    assert ids == in_chat[::-1]
    assert product.request("GET", "/v1/runs?task=none")[0] == 400
    product.request("DELETE", f"/v1/tasks/{task}")


def test_the_waterfall_grows_while_the_run_goes_on(agent, start, runs_page, model, name):
    who = agent(CALCULATION, [{"text": "It is "}, {"wait": name}, {"text": "84."}], builtin_tools=["calculate"])
    page = runs_page(run=start(who))
    expect(bars(page)).to_have_count(5)
    names = page.locator("#waterfall .name")
    expect(names).to_have_text(["Queued", "Reasoning", "calculate", "Result of calculate", "Answer"])
    expect(page.locator("#run-status")).to_have_text("running")
    before = page.locator('#waterfall [data-type="final_answer"] .time').inner_text()
    expect(page.locator('#waterfall [data-type="final_answer"] .time')).not_to_have_text(before)

    until(lambda: width_of(page, "final_answer") > width_of(page, "tool_use") or page.wait_for_timeout(50))
    model.release(name)
    expect(page.locator("#run-status")).to_have_text("completed")
    expect(page.locator("#cards .item[data-type=final_answer] .text")).to_have_text("It is 84.")
    expect(page.locator("#cancel")).to_be_hidden()
    assert width_of(page, "final_answer") > width_of(page, "tool_use")


def test_a_server_that_is_being_restarted_is_asked_again(agent, start, open_page, product):
    run = start(agent([{"text": "It is 84."}]))
    page, refused = open_page(), []

    def answer(route):
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.fulfill(status=503, body="restarting")

    page.route("**/v1/runs/*/events", answer)
    page.route(f"**/v1/runs/{run}", lambda route: route.fulfill(json=route.fetch().json() | {"finished_at": None}))
    page.goto(f"{product.url}/runs/?run={run}")
    expect(page.locator("#cards .item[data-type=final_answer] .text")).to_have_text("It is 84.")
    assert len(refused) == 1


def test_a_try_that_failed_is_a_bar_too(agent, start, runs_page):
    page = runs_page(run=start(agent([{"only_first": 1, "do": [{"status": 503}]}, {"text": "Now."}])))

    expect(page.locator("#waterfall .name")).to_have_text(["Queued", re.compile("^Retrying in "), "Answer"])


def test_a_bar_leads_to_its_step(agent, start, runs_page):
    page = runs_page(run=start(agent(CALCULATION, [{"text": "It is 84."}], builtin_tools=["calculate"])))
    result = page.locator("#cards .item[data-type=tool_result]")
    expect(result.locator(".text")).to_be_hidden()
    expect(bars(page)).to_have_count(5)
    expect(page.locator("#player")).to_be_visible()  # nothing moves any more
    page.get_by_role("button", name="Result of calculate").click()

    expect(result.locator(".text")).to_be_visible()
    expect(page.locator("#cards .item[data-type=tool_use] summary")).to_be_focused()


def test_a_run_is_stopped_from_its_page(agent, start, runs_page, model):
    who = agent([{"text": "For ever "}, {"wait": "never"}])
    page = runs_page(run=start(who))
    expect(page.locator("#cards .item[data-type=final_answer] .text")).to_have_text("For ever ")
    page.click("#cancel")

    expect(page.locator("#run-status")).to_have_text("cancelled")
    assert model.wait_for_abort(who)


def test_an_approval_is_given_on_the_page(agent, start, runs_page):
    who = agent(CALCULATION, [{"text": "84."}], builtin_tools=["calculate"], approval_required=["calculate"])
    page = runs_page(run=start(who))
    page.get_by_role("button", name="Allow once", exact=True).click()

    expect(page.locator("#run-status")).to_have_text("completed")
    expect(page.locator("#waterfall [data-type=approval] .name")).to_contain_text("allowed by")


def test_an_answer_that_was_overtaken_changes_nothing(agent, start, runs_page, product):
    who = agent(CALCULATION, [{"text": "It is 84."}], builtin_tools=["calculate"], approval_required=["calculate"])
    run = start(who)
    until(lambda: product.request("GET", f"/v1/runs/{run}")[1]["status"] == "waiting")
    page = runs_page(run=run)
    expect(page.locator("#run-status")).to_have_text("waiting")
    held = []
    page.route("**/v1/runs/*", lambda route: held.append(route) if not held else route.continue_())
    page.get_by_role("button", name="Allow once", exact=True).click()
    expect(page.locator("#run-status")).to_have_text("completed")
    with page.expect_response("**/v1/runs/*"):
        held[0].fulfill(json=held[0].fetch().json() | {"status": "running", "finished_at": None})
    expect(page.locator("#cards .item[data-type=final_answer] .text")).to_have_text("It is 84.")
    expect(page.locator("#run-status")).to_have_text("completed")


def test_a_replay_takes_as_long_as_the_run_did(agent, start, runs_page, product):
    who = agent([{"text": "One two three four five.", "chunk": 3, "delay": 0.4}])
    run = start(who)
    page = runs_page(run=run)
    expect(page.locator("#run-status")).to_have_text("completed")
    frames = product.request("GET", f"/v1/runs/{run}/events")[1]["data"]
    length = frames[-1]["timestamp"] - frames[0]["timestamp"]
    page.evaluate("""() => {
        window.texts = [];
        window.labels = [];
        new MutationObserver(() => {
            const text = document.querySelector("#cards .item .text")?.textContent.trim();
            if (text && text !== texts.at(-1)) texts.push(text);
        }).observe(document.getElementById("cards"), { childList: true, subtree: true, characterData: true });
        const play = document.getElementById("play");
        play.addEventListener("click", () => (window.began = performance.now()), { once: true });
        new MutationObserver(() => {
            if (play.textContent !== labels.at(-1)) labels.push(play.textContent);
            if (play.dataset.state === "paused") window.ended = performance.now();
        }).observe(play, { attributes: true, childList: true, subtree: true, characterData: true });
    }""")
    page.click("#play")
    until(lambda: page.evaluate("window.ended") or page.wait_for_timeout(50))
    assert page.evaluate("labels") == ["Pause", "Replay"]
    took = page.evaluate("(ended - began) / 1000")
    assert length - 0.5 < took < length + 15
    texts = page.evaluate("texts")
    assert len(texts) > 2
    assert all("One two three four five.".startswith(text) for text in texts)
    assert texts[-1] == "One two three four five."


def test_one_can_go_to_any_moment_of_a_replay(agent, start, runs_page):
    page = runs_page(run=start(agent(CALCULATION, [{"text": "It is 84."}], builtin_tools=["calculate"])))
    expect(bars(page)).to_have_count(5)
    expect(page.locator("#player")).to_be_visible()
    page.locator("#position").focus()
    page.keyboard.press("Home")
    expect(bars(page)).to_have_count(1)
    page.keyboard.press("End")
    expect(bars(page)).to_have_count(5)
    expect(page.locator("#cards .item[data-type=final_answer] .text")).to_have_text("It is 84.")


def test_a_run_that_does_not_exist_is_an_error(runs_page):
    page = runs_page(run="00000000-0000-0000-0000-000000000000")
    expect(page.locator("#problem")).to_have_text(re.compile(r"\w"))


def test_a_phone_shows_the_list_or_the_run(agent, start, runs_page):
    who = agent([{"text": "Yes."}])
    run = start(who, "A question")
    page = runs_page(agent=who, width=360, height=640)
    page.locator("#runs li a").click()
    expect(page.locator("#run-status")).to_have_text("completed")
    assert run in page.url
    expect(page.locator("#runs")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("link", name="← Runs").click()
    expect(page.locator("#runs")).to_be_visible()

"""The page of tasks in a real browser: made, changed, foreseen, run and deleted."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.slow


@pytest.fixture
def make(product):
    """A function that makes a task; it is deleted at the end."""
    made = []

    def make(agent: str, **fields) -> str:
        names = {"task_prompt": "Go.", "schedule_type": "cron", "schedule_value": "0 0 29 2 *", **fields}
        status, task = product.request("POST", "/v1/tasks", {"agent_name": agent, **names})
        assert status == 201, task
        made.append(task["id"])
        return task["id"]

    yield make
    for task in made:
        product.request("DELETE", f"/v1/tasks/{task}")


@pytest.fixture
def tasks_page(product, open_page):
    def open_at(query: str = "", **options) -> Page:
        page = open_page(**options)
        page.goto(f"{product.url}/tasks/{query}")
        return page

    return open_at


def line(page: Page, name: str) -> Locator:
    return page.locator("#tasks li", has_text=name)


def moments(page: Page) -> Locator:
    return page.locator("#moments time")


def test_a_task_is_made_with_a_form_that_foresees(agent, tasks_page, product, name):
    who = agent([{"text": "Done."}])
    page = tasks_page("?new=1")
    page.get_by_label("Name").fill(name)
    page.locator("[name=agent_name]").select_option(who)
    page.get_by_label("Instructions").fill("Write the report.")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    expect(page.locator("#schedule-in-words")).to_have_text("Every day at 9:00 AM, Berlin")
    page.locator("#repeats").select_option("cron")
    page.get_by_label("When").fill("30 7 1 1 *")
    expect(moments(page)).to_have_count(5)
    expect(moments(page).first).to_contain_text("January 1")
    expect(moments(page).first).to_contain_text("7:30:00")
    page.get_by_role("button", name="Create the task").click()

    page.wait_for_url("**/tasks/?task=*")
    expect(line(page, name)).to_contain_text(who)
    expect(line(page, name)).to_contain_text("Cron 30 7 1 1 *, Berlin")
    expect(line(page, name).locator("a")).to_have_attribute("title", re.compile(r"7:30:00 AM Europe/Berlin$"))
    expect(page.locator("#zone-of-moments")).to_have_text("Europe/Berlin")
    task = page.url.partition("task=")[2]
    response = product.request("GET", f"/v1/tasks/{task}")[1]
    assert (response["task_prompt"], response["timezone"]) == ("Write the report.", "Europe/Berlin")
    product.request("DELETE", f"/v1/tasks/{task}")


@pytest.mark.parametrize(
    ("repeat", "fields", "cron", "words"),
    [
        ("hour", {"Minutes past the hour": "5"}, "5 * * * *", "Every hour, 5 minutes past"),
        ("weekdays", {"At": "17:30"}, "30 17 * * MON-FRI", "Weekdays at 5:30 PM"),
        ("month", {"Day of the month": "31", "At": "00:00"}, "0 0 31 * *", "Monthly on day 31 at 12:00 AM"),
    ],
)
def test_a_schedule_is_chosen_in_plain_words(agent, make, tasks_page, product, name, repeat, fields, cron, words):
    task = make(agent([{"text": "Done."}]), name=name, timezone="America/New_York")
    page = tasks_page(f"?task={task}")
    expect(page.get_by_label("When")).to_have_value("0 0 29 2 *")
    page.locator("#repeats").select_option(repeat)
    for label, value in fields.items():
        page.get_by_label(label, exact=True).fill(value)
    expect(page.get_by_label("When")).to_be_hidden()
    expect(page.locator("#schedule-in-words")).to_have_text(f"{words}, New York")
    page.get_by_role("button", name="Save").click()
    expect(line(page, name)).to_contain_text(re.compile(rf"{words}, New York ?next in "))
    assert product.request("GET", f"/v1/tasks/{task}")[1]["schedule_value"] == cron
    page.reload()
    expect(page.locator("#repeats")).to_have_value(repeat)


def test_errors_are_shown_while_one_types_and_under_their_fields(agent, tasks_page, name):
    who = agent([{"text": "Done."}])
    page = tasks_page("?new=1")
    page.locator("[name=agent_name]").select_option(who)
    page.locator("#repeats").select_option("cron")
    page.get_by_label("When").fill("61 * * * *")
    expect(page.locator("#problem-of-schedule_value")).to_contain_text("61")
    expect(page.locator("#no-moments")).to_be_hidden()
    page.get_by_role("button", name="Create the task").click()

    expect(page.locator("#problem-of-name")).to_be_visible()
    expect(page.get_by_label("Name")).to_be_focused()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Instructions").fill("Go.")
    page.get_by_role("button", name="Create the task").click()
    expect(page.locator("#problem-of-schedule_value")).to_contain_text("61")
    expect(page.locator("#problem-of-name")).to_have_count(0)
    expect(page.get_by_label("When")).to_be_focused()
    page.get_by_label("When").fill("1 * * * *")
    expect(moments(page)).to_have_count(5)
    expect(page.locator("#no-moments")).to_be_hidden()
    expect(page.locator("#problem-of-schedule_value")).to_have_count(0)


def test_a_task_is_changed(agent, make, tasks_page, product, name):
    task = make(agent([{"text": "Done."}]), name=name)
    page = tasks_page(f"?task={task}")
    expect(page.get_by_label("When")).to_have_value("0 0 29 2 *")
    page.locator("#repeats").select_option("interval")
    page.get_by_label("When").fill("3600")
    page.locator(".more-fields summary").click()
    page.get_by_label("Repetitions after a failure").fill("3")
    page.get_by_role("button", name="Save").click()

    expect(page.locator("#said")).to_have_text("Saved. ")
    response = product.request("GET", f"/v1/tasks/{task}")[1]
    assert (response["schedule_type"], response["schedule_value"], response["max_retries"]) == ("interval", "3600", 3)


def test_a_task_is_run_now_and_watched(agent, make, tasks_page, name, model):
    task = make(agent([{"text": "Well "}, {"wait": name}, {"text": "done."}]), name=name)
    page = tasks_page(f"?task={task}")
    expect(page.locator("#no-history")).to_be_visible()
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("#history-list li")).to_have_attribute("data-status", "running")
    model.release(name)
    expect(page.locator("#history-list li")).to_have_attribute("data-status", "completed")
    expect(page.locator("#history-list li")).to_contain_text("Well done.")
    page.get_by_role("link", name="Watch it").click()

    expect(page.locator("#run-status")).to_have_text("completed")


def test_the_history_tells_of_skips_and_of_the_webhook(agent, make, tasks_page, product, name):
    hook = {"webhook_url": "http://127.0.0.1:9/hook", "webhook_secret": f"whsec_{'c2VjcmV0' * 4}"}
    task = make(agent([{"text": "**Done**."}]), name=name, **hook)
    page = tasks_page(f"?task={task}")
    page.get_by_role("button", name="Run now").click()
    history = page.locator("#history-list li")
    expect(history).to_contain_text("Done.")
    expect(history).not_to_contain_text("**")
    expect(history.locator(".told")).to_contain_text("Webhook failed after one attempt")
    expect(history.locator(".told")).to_contain_text("private network")

    product.request("PATCH", f"/v1/agents/{name}", {"enabled": False})
    product.request("PATCH", f"/v1/tasks/{task}", {"schedule_type": "interval", "schedule_value": "1"})
    skipped = page.locator('#history-list li[data-status="skipped"]')
    expect(skipped).to_contain_text(re.compile(r"skipped \d+ times"))
    expect(skipped).to_contain_text(name)
    product.request("POST", f"/v1/tasks/{task}/disable")
    page.get_by_role("link", name="View all runs").click()
    expect(page.locator("#filter-task")).to_have_value(task)
    expect(page.locator("#runs li")).to_have_count(1)
    expect(page.locator("#filter-task option:checked")).to_have_text(name)


def test_a_task_is_disabled_and_enabled(agent, make, tasks_page, product, name):
    task = make(agent([{"text": "Done."}]), name=name)
    page = tasks_page(f"?task={task}")
    page.get_by_role("button", name="Disable").click()
    expect(line(page, name)).to_contain_text("disabled")
    assert product.request("GET", f"/v1/tasks/{task}")[1]["enabled"] is False
    page.get_by_role("button", name="Enable").click()
    expect(line(page, name)).to_contain_text("next")


def test_a_task_is_deleted_after_a_question(agent, make, tasks_page, product, name):
    task = make(agent([{"text": "Done."}]), name=name)
    page = tasks_page(f"?task={task}")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text(name)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()

    page.wait_for_url("**/tasks/")
    assert product.request("GET", f"/v1/tasks/{task}")[0] == 404


def test_a_phone_shows_the_list_or_the_task(agent, make, tasks_page, name):
    make(agent([{"text": "Done."}]), name=name)
    page = tasks_page(width=360, height=640)
    line(page, name).locator("a").click()
    expect(page.locator("#task-title")).to_have_text(name)
    expect(page.locator("#tasks")).to_be_hidden()
    expect(moments(page)).to_have_count(5)
    assert page.evaluate("document.documentElement.scrollWidth") == 360

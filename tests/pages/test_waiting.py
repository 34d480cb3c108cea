"""What waits for a decision, in whichever chat: counted in the navigation, and answered on one page."""

import re

import pytest
from playwright.sync_api import expect

from tests.harness.pages.accessibility import expect_accessible

pytestmark = pytest.mark.slow

QUESTION = {"tool_call": {"name": "ask_user", "arguments": '{"question": "Which color?", "options": ["red", "blue"]}'}}
CALL = {"tool_call": {"name": "calculate", "arguments": '{"expression": "6 * 7"}'}}


def test_actions_of_several_chats_are_answered_on_one_page(agent, open_page, product):
    who = agent(
        [CALL],
        [QUESTION],
        [{"text": "Done."}],
        builtin_tools=["calculate", "ask_user"],
        approval_required=["calculate"],
    )
    run = product.request("POST", f"/v1/agents/{who}/runs", {"message": "Go."})[1]["run_id"]
    own = f'[data-action^="act_{run.replace("-", "")}_"]'
    page = open_page()
    page.goto(f"{product.url}/waiting/")
    approval = page.locator(own)
    expect(approval).to_contain_text("6 * 7")
    expect(page.locator("#waiting-count")).to_have_text(re.compile(r"\d"))
    expect_accessible(page)
    approval.get_by_role("button", name="Allow once").click()
    question = page.locator(own, has_text="Which color?")
    expect(question).to_be_visible()
    product.request("POST", f"/v1/actions/{question.get_attribute('data-action')}/answer", {"outcome": "declined"})
    question.get_by_role("button", name="blue").click()
    expect(page.locator("#problem")).to_contain_text("already")
    expect(question).to_have_count(0)

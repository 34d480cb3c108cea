"""/v1/docs: the API, to read and to try out, in a real browser."""

import pytest
from playwright.sync_api import expect


@pytest.mark.slow
def test_the_api_can_be_read_and_tried_out_without_anything_from_elsewhere(product, open_page):
    page = open_page(is_new=True)
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    policy = page.goto(f"{product.url}/v1/docs").headers["content-security-policy"]
    assert "unsafe" not in policy
    operation = page.locator(".opblock", has=page.locator('[data-path="/v1/info"]'))
    summary = operation.locator(".opblock-summary-description")
    expect(summary).to_have_text("Return the capabilities and limits of this version.")
    operation.locator(".opblock-summary").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(operation.locator(".live-responses-table")).to_contain_text('"protocol": 1')
    assert complaints == []
    assert all(url.startswith((product.url, "data:")) for url in requests), requests

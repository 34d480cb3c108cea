"""What axe-core says of a page."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def expect_accessible(page: Page) -> None:
    page.wait_for_load_state("load")
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()

"""What axe-core says of a page."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def expect_accessible(page: Page) -> None:
    page.wait_for_load_state("load")
    results = Axe().run(page, options={"resultTypes": ["violations"]})  # of what is right, the names only
    assert results.violations_count == 0, results.generate_report()

"""What axe-core says of a page."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

OPTIONS = {"resultTypes": ["violations"]}  # of what is right, the names only
COLORS = OPTIONS | {"runOnly": ["color-contrast"]}


def expect_accessible(page: Page) -> None:
    """Hold that axe finds nothing in the light, and nothing against the colors in the dark: all else is the same."""
    page.wait_for_load_state("load")
    for scheme, options in (("light", OPTIONS), ("dark", COLORS)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        results = Axe().run(page, options=options)
        assert results.violations_count == 0, f"{scheme}: {results.generate_report()}"
    page.emulate_media(color_scheme="light")

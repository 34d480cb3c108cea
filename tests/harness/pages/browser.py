"""A real browser for tests: Debian's Chromium, headless (`scripts/install-test-tools` installs it)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from playwright.sync_api import Page, expect, sync_playwright

from tests.harness.daemon import program

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT = 30_000


@contextlib.contextmanager
def browser() -> Iterator[Callable[..., Page]]:
    """Give a function that opens a page with cookies and storage of its own: `open_page(width=360)`.

    A second tab beside it is `page.context.new_page()`. A script that failed on any page fails the test.
    Inside, Django's ORM refuses this thread: Playwright runs an event loop in it.
    """
    failures: list[str] = []
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program("chromium"), args=ARGUMENTS)

        def open_page(*, width: int = 1280, height: int = 800, color_scheme: str = "light") -> Page:
            context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=color_scheme)
            context.set_default_timeout(TIMEOUT)
            context.on("weberror", lambda failure: failures.append(str(failure.error)))
            return context.new_page()

        try:
            yield open_page
        finally:
            chromium.close()
    assert not failures, f"A page's script failed: {failures}"

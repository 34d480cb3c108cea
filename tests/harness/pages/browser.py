"""A real browser for tests: Debian's Chromium, headless (`scripts/install-test-tools` installs it)."""

from __future__ import annotations

import contextlib
import shutil
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Self

from playwright.sync_api import Error, Page, expect, sync_playwright

from tests.harness.daemon import free_port, program

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


def chromium_program() -> str:
    """Return Chromium without the parts of a window, which a page takes a quarter less CPU with, or the whole one."""
    return shutil.which("chromium-headless-shell") or program("chromium")


class Chromium:
    """A browser for a whole test process. `url` is where `browser` connects.

    Playwright, which starts it, has a thread of its own: the ORM would refuse the test's thread to the end.
    """

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._ready: Future[None] = Future()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(port,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(120)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self, port: int) -> None:
        try:
            with sync_playwright() as playwright:
                arguments = [*ARGUMENTS, f"--remote-debugging-port={port}"]
                chromium = playwright.chromium.launch(executable_path=chromium_program(), args=arguments)
                self._ready.set_result(None)
                self._done.wait()
                chromium.close()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)


@contextlib.contextmanager
def browser(url: str = "") -> Iterator[Callable[..., Page]]:
    """Give a function that opens a page with cookies and storage of its own: `open_page(width=360)`.

    `url` is a running Chromium's; without it, one is started.

    A second tab beside it is `page.context.new_page()`. A script that failed on any page fails the test.
    Inside, Django's ORM refuses this thread: Playwright runs an event loop in it.
    """
    failures: list[str] = []
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        if url:
            chromium = playwright.chromium.connect_over_cdp(url)
        else:
            chromium = playwright.chromium.launch(executable_path=chromium_program(), args=ARGUMENTS)

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


class Tabs:
    """Pages for one test after the other: what one has loaded, the next takes from the cache of its context.

    That is a quarter of what a page in a new context computes, the server's part included.
    """

    def __init__(self, open_page: Callable[..., Page]) -> None:
        self._open_page = open_page
        self._idle: list[Page] = []

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Callable[..., Page]]:
        """Give a function that opens a page without cookies and storage, until the end of a test.

        With `is_new` the page has never been another test's, and will not be: for whoever adds listeners, functions
        and scripts to it, which nobody can remove.
        """
        pages: list[tuple[Page, bool]] = []

        def open_page(
            *, width: int = 1280, height: int = 800, color_scheme: Any = "light", is_new: bool = False
        ) -> Page:
            page = self._idle.pop() if self._idle and not is_new else self._open_page()
            pages.append((page, is_new))
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=color_scheme, reduced_motion="no-preference")
            return page

        yield open_page
        for page, is_new in pages:
            self._take_back(page, is_new)

    def _take_back(self, page: Page, is_new: bool) -> None:
        """Leave nothing in a page of what was done in it; close it if that is not possible."""
        try:
            if not page.is_closed():
                page.unroute_all(behavior="ignoreErrors")  # a handler at work would fail the next test
                if not is_new:
                    _empty(page)
                    self._idle.append(page)
                    return
        except Error:
            pass
        page.context.close()


_CLEAR = """async () => {
    localStorage.clear();
    sessionStorage.clear();
    for (const { name } of await indexedDB.databases()) indexedDB.deleteDatabase(name);
}"""


def _empty(page: Page) -> None:
    for tab in page.context.pages:
        if tab is not page:
            tab.close()
    page.goto(urllib.parse.urljoin(page.url, "/health/"))  # to a page without address is to another process
    page.evaluate(_CLEAR)
    page.set_extra_http_headers({})
    page.context.clear_cookies()
    page.context.clear_permissions()

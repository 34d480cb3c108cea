from collections.abc import Iterator

import pytest

from tests.harness.fakes.site import Site


@pytest.fixture
def site() -> Iterator[Site]:
    """A website of this machine with one page."""
    with Site() as running:
        running.page("/", "hello", Content_Type="text/plain")
        yield running

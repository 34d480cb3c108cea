from collections.abc import Iterator

import pytest

from tests.harness import log_threads


@pytest.fixture(scope="module")
def log_database(django_db_setup: None) -> Iterator[None]:
    """For modules that follow a log in this process: no connection stays open."""
    yield
    log_threads.close_connections()

"""Wait for a condition that sends no event."""

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], timeout: float = 60) -> Any:
    """Return the first true result of the function, which is called 50 times a second."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"The condition did not become true in {timeout:g} s"
        time.sleep(0.02)
    return result

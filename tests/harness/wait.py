"""Wait for a condition that sends no event."""

import time
from collections.abc import Callable
from typing import Any

SHORTEST, LONGEST = 0.02, 0.25  # seconds between two looks


def until(condition: Callable[[], Any], timeout: float = 60) -> Any:
    """Return the first true result of the function.

    It is called 50 times a second at first, and less often the longer it takes, at most a tenth late: many conditions
    are a request, and the server that is waited for would be busy with answering how far it is.
    """
    began = time.monotonic()
    while not (result := condition()):
        elapsed = time.monotonic() - began
        assert elapsed < timeout, f"The condition did not become true in {timeout:g} s"
        time.sleep(min(max(elapsed / 10, SHORTEST), LONGEST))
    return result

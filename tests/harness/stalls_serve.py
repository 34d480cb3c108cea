"""`manage.py serve` that tells, at SIGUSR1, the longest computation on its event loop since the last time.

Processor time of one callback, so that other processes of the machine do not count.
"""

import asyncio.events
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

STALLS = "STALLS_FILE"
_longest = 0.0
_run = asyncio.events.Handle._run


def _measured(handle: Any) -> None:
    global _longest
    began = time.thread_time()
    _run(handle)
    _longest = max(_longest, time.thread_time() - began)


def tell(*_: object) -> None:
    """Write the seconds."""
    global _longest
    file = Path(os.environ[STALLS])
    file.with_suffix(".new").write_text(f"{_longest}")
    file.with_suffix(".new").rename(file)
    _longest = 0.0


if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    asyncio.events.Handle._run = _measured  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, tell)
    execute_from_command_line(sys.argv)

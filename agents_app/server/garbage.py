"""When a process searches for reference cycles.

Connections and runs leave none (`tests/operations/test_garbage.py`), and a search stops the event loop: so it is rare,
and while nothing happens.
"""

import asyncio
import gc
import time

INTERVAL = 60.0  # seconds between two searches at least
_LOOK = 0.5  # seconds over which the process is watched
_IDLE = 0.02  # share of a core that an idle process uses at most


def be_rare() -> None:
    """Search rarely: imported modules stay, and looking at them again and again took a tenth of each start."""
    gc.set_threshold(50_000, 20, 50)


def leave_out_what_stays() -> None:
    """Exclude what is loaded now from all searches: it lives as long as the process."""
    gc.freeze()
    be_rare()


async def collect_when_idle() -> None:
    """Search everything once a minute, if the process has nothing else to do."""
    while True:
        await asyncio.sleep(INTERVAL)
        began = time.process_time()
        await asyncio.sleep(_LOOK)
        if time.process_time() - began < _IDLE * _LOOK:
            gc.collect()

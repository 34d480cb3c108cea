"""Import what the first request and the first run need: close to a second that a start does not wait for."""

import asyncio
import logging
from collections.abc import Callable

from agents_app.server import garbage

logger = logging.getLogger(__name__)


async def warm_up(load: Callable[[], object]) -> None:
    """Call `load` in a thread. What it cannot load now, for want of descriptors or memory, is loaded at its use."""
    try:
        await asyncio.to_thread(load)
        garbage.leave_out_what_stays()
    except (OSError, MemoryError) as error:
        logger.warning("Cannot load ahead what the first request needs: %s", error)

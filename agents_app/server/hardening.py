"""Hide this process from other programs of the same user."""

import ctypes
import logging
import sys

from django.conf import settings

logger = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """Let no program of this user read our environment and memory, or trace us. Only Linux can.

    The processes of MCP servers run as our user. With `DUMPABLE` a debugger or profiler of the same user may look in.
    """
    if sys.platform == "linux" and not settings.DUMPABLE and ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        logger.warning("The kernel does not hide this process: programs of the same user can read its environment")

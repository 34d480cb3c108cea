"""File descriptors: how many this process may have, and how many connections fit."""

import functools
import logging
import resource

from django.conf import settings

logger = logging.getLogger(__name__)

_MOST = 1_048_576  # descriptors: some containers allow a billion, and programs that we start may close each of them
_RESERVE = 200  # descriptors for the database, the log, MCP servers and libraries
_PER_RUN = 2  # descriptors of a run: its model and a tool


@functools.cache
def raise_limit() -> None:
    """Let this process have as many file descriptors as the hard limit allows; warn if too few for its sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError) as error:  # macOS allows fewer than its hard limit says
            logger.warning("Could not raise the limit of open files from %s to %s: %s", soft, most, error)
    room = room_for_connections()
    if room < settings.SOCKETS_PER_PROCESS:
        logger.warning(
            "This process may have %s open files, which is enough for %s connections, fewer than SOCKETS_PER_PROCESS "
            "(%s): raise the hard limit (LimitNOFILE of systemd, `ulimit -Hn`)",
            *(f"{number:,}" for number in (_limit(), room, settings.SOCKETS_PER_PROCESS)),
        )


def room_for_connections() -> int:
    """Return how many connections leave enough descriptors for everything else."""
    limit = _limit()
    return max(limit - _RESERVE - _PER_RUN * settings.WORKER_CONCURRENCY, limit // 4)


def _limit() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST if soft == resource.RLIM_INFINITY else soft

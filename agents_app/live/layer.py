"""The channel layer's groups and time-outs."""

import zlib

from django.conf import settings

ALL_HUBS = "hubs"  # the group of all hubs that answer questions
TIMEOUT = 1.0  # seconds


def group_of(session_id: str) -> str:
    """Return the group that carries the frames of this session, and of others."""
    return f"log.{zlib.crc32(session_id.encode()) % settings.LIVE_BUCKETS}"

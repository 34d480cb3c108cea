"""How fast a client may send frames on its sockets.

Each frame takes from buckets of this process, one of its socket and one of its user: a `ping` costs 0.1 ms, and a round
trip to Redis, where limits of all instances are counted, would cost more than that. Frames that query the database are
counted there too, as messages are: see `queries.limited`.
"""

import time
from weakref import WeakValueDictionary

from django.conf import settings

SOCKETS = 10  # sockets of one user in this process that may send as fast as they can
PAUSE = 0.2  # seconds that a socket which sends too fast is not read: its client waits, and costs nothing meanwhile


class Bucket:
    """A minute's worth of frames, which fills up evenly."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._left = float(per_minute)
        self._at = time.monotonic()

    def take(self) -> float:
        """Take one frame; return 0, or the seconds to the next one if there is none."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self._most / 60, self._most)
        self._at = now
        if self._left < 1:
            return (1 - self._left) * 60 / self._most
        self._left -= 1
        return 0.0


_of_user: WeakValueDictionary[int, Bucket] = WeakValueDictionary()  # while the user has a socket


class FrameRate:
    """The rate of one socket. Without sign-in all sockets are of one user, so each counts alone."""

    def __init__(self, user_id: int) -> None:
        limit = settings.FRAMES_PER_MINUTE
        self._buckets = [Bucket(limit)] if limit > 0 else []
        if limit > 0 and settings.AUTH_REQUIRED:
            bucket = _of_user.get(user_id)
            if bucket is None:
                bucket = _of_user[user_id] = Bucket(SOCKETS * limit)
            self._buckets.append(bucket)

    def take(self) -> float:
        """Count one frame. Return 0, or after how many seconds the client may send another one."""
        return max((bucket.take() for bucket in self._buckets), default=0.0)

"""How fast one client may go."""

import time

from agents_app.exceptions import RateLimited


class TokenBucket:
    """`per_minute` things a minute, of which a minute's worth may come at once."""

    def __init__(self, per_minute: int) -> None:
        self._rate = max(per_minute, 1) / 60
        self._most = float(max(per_minute, 1))
        self._tokens = self._most
        self._at = time.monotonic()

    def take(self) -> None:
        """Take one.

        Raises:
            RateLimited: there is none; it says when there will be.
        """
        now = time.monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            raise RateLimited("Too many messages: wait a moment.", retry_after=(1 - self._tokens) / self._rate)
        self._tokens -= 1

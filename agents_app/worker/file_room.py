"""Room for the encoded files of requests that are on their way to models, of all runs of a worker together."""

import asyncio
from collections import deque

from agents_app.per_loop import per_loop

MOST_BYTES = 128 * 2**20


class Room:
    """A number of bytes that runs take in turn: the first that waits is the first that gets them.

    Nobody waits for ever, because whoever waits holds none.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._free = most
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    async def take(self, size: int) -> int:
        """Wait for so many bytes. Returns how many were taken: at most as many as there are."""
        size = min(size, self._most)
        if not size:
            return 0
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, size))
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._admit()  # those behind it
            else:  # it was granted at the same moment
                self.give(size)
            raise
        return size

    def give(self, size: int) -> None:
        """Give bytes back."""
        self._free += size
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            place, size = self._waiting[0]
            if not place.cancelled():
                if size > self._free:
                    return
                self._free -= size
                place.set_result(None)
            self._waiting.popleft()


room = per_loop(Room)

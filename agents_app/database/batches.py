"""The pace of long work on the database: transactions so short that others hardly notice, and rests between them."""

import time
from collections.abc import Callable

LONGEST_HOLD = 0.01  # seconds that one transaction should take: SQLite's other writers wait for it
_LEAST = 10  # rows
_SHORTEST_REST, _LONGEST_REST = 0.005, 0.2  # seconds


class Pace:
    """How many rows the next transaction takes: fewer where the last one took long. `rest` waits between them."""

    def __init__(self, most: int, rest: Callable[[float], object] = time.sleep) -> None:
        self._most = most
        self._rest = rest
        self.rows = min(most, 100)

    def worked(self, seconds: float) -> None:
        """The last transaction took so long; rest for as long as it."""
        if seconds > LONGEST_HOLD:
            self.rows = max(min(_LEAST, self._most), self.rows // 2)
        elif seconds < LONGEST_HOLD / 2:
            self.rows = min(self.rows * 2, self._most)
        self._rest(min(max(seconds, _SHORTEST_REST), _LONGEST_REST))

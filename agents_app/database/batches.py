"""Sizes of batches for long deletions: transactions so short that others hardly notice, and pauses between them."""

import time
from collections.abc import Callable

LONGEST_HOLD = 0.01  # seconds that one transaction should take at most: SQLite's other writers wait for it
_LEAST = 10  # rows
_SHORTEST_REST, _LONGEST_REST = 0.005, 0.2  # seconds


class BatchSize:
    """The rows of the next transaction: fewer if the last one took long. `rest` pauses between two of them."""

    def __init__(self, most: int, rest: Callable[[float], object] = time.sleep) -> None:
        self._most = most
        self._rest = rest
        self.rows = min(most, 100)

    def adapt(self, seconds: float) -> None:
        """Adapt to the duration of the last transaction, and rest for as long."""
        if seconds > LONGEST_HOLD:
            self.rows = max(min(_LEAST, self._most), self.rows // 2)
        elif seconds < LONGEST_HOLD / 2:
            self.rows = min(self.rows * 2, self._most)
        self._rest(min(max(seconds, _SHORTEST_REST), _LONGEST_REST))

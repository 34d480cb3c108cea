"""What rendering one text may cost: CPU time of its thread, looked at while the text is parsed.

Bounds on the input alone do not do: the rules of Markdown nest, and 50,000 characters of brackets, stars or
cells of tables take from 20 ms to seconds.
"""

import time
from typing import Any

CPU_SECONDS = 0.12
_LOOKS = 32  # calls between two looks at the clock, each of which takes half a microsecond
_KEY = "budget"


class TooExpensive(Exception):
    """The text takes longer to render than it may."""


class Budget:
    """The CPU time that a text has left."""

    def __init__(self, seconds: float = CPU_SECONDS) -> None:
        self._end = time.thread_time() + seconds
        self._calls = 0

    def check(self) -> None:
        """Look at the clock, at every 32nd call.

        Raises:
            TooExpensive: the time is over.
        """
        self._calls += 1
        if self._calls % _LOOKS == 0 and self.is_spent:
            raise TooExpensive

    @property
    def is_spent(self) -> bool:
        return time.thread_time() > self._end


def new_environment(seconds: float = CPU_SECONDS) -> dict[str, Any]:
    """Return the environment of one text, which markdown-it hands to each rule."""
    return {_KEY: Budget(seconds)}


def of(environment: Any) -> Budget:
    """Return the budget of a text by its environment."""
    budget: Budget = environment[_KEY]
    return budget


def check_in_rule(state: Any, *_: Any) -> bool:
    """A rule that comes first, matches nothing, and only looks at the clock."""
    of(state.env).check()
    return False

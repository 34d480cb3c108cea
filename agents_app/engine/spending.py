"""What the engine asks before each turn of the model: whether the run may pay for it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from agents_app.engine.events import AwaitingApproval


class TurnEstimate(NamedTuple):
    """The most tokens that a turn is expected to take."""

    input_tokens: int
    output_tokens: int


class Spending(Protocol):
    """The budgets of a run."""

    async def begin_turn(self, estimate: Callable[[], TurnEstimate]) -> AwaitingApproval | None:
        """Reserve the next turn. Return an event if a person must allow it first.

        Raises:
            LimitReached: a budget has no room for it.
        """

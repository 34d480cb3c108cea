"""Which of an agent's models is asked: the next one where a model fails before its first token."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from agents_app.engine.events import RunWarning
from agents_app.engine.providers.accepts import FileRefused
from agents_app.engine.providers.base import Files, Model
from agents_app.engine.spec import ModelChoice, ModelSpec
from agents_app.exceptions import ModelError, ModelUnavailable
from agents_app.observability import metrics

CLOSED, OPEN, TRIAL = "closed", "open", "trial"
PATIENCE = 2.0  # seconds that a rate limit may ask to wait, rather than to ask another model
TOO_SLOW = "model_slow"
SKIPPED = "circuit_open"
# What speaks of the server, and not of the request. Anything else is a sign of life.
_OF_SERVER = frozenset(
    {
        "model_unreachable",
        "model_timeout",
        TOO_SLOW,
        "model_unavailable",
        "model_rate_limited",
        "model_key_refused",
        "model_bad_answer",
        "model_stream_cut",
        "model_bad_stream",
    }
)


class Circuits(Protocol):
    """What all workers know of the servers of models: a server that fails repeatedly is not asked for a while."""

    async def state(self, spec: ModelSpec) -> str:
        """Return CLOSED, OPEN, or TRIAL for the one request that may find out whether the server works again."""
        ...

    async def succeeded(self, spec: ModelSpec, state: str) -> None:
        """Count a server that answered. `state`: of its circuit when it was asked."""
        ...

    async def failed(self, spec: ModelSpec, state: str) -> None:
        """Count a server that did not."""
        ...


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model that can be asked. `files`: see `Files`."""

    spec: ModelSpec
    model: Model
    files: Files | None = None


class Fallbacks:
    """The models of an agent during one run. A run stays with the model that answered last: its cache is warm.

    Each round asks each model at most once. The next round, after a delay, leaves out those that a retry cannot help.
    """

    def __init__(
        self, first: OpenModel, others: Sequence[ModelChoice], open_model: "Opener", circuits: Circuits
    ) -> None:
        self.present = first
        self._specs = [first.spec, *(choice.model for choice in others)]
        self._choices = others
        self._opened: dict[int, OpenModel] = {0: first}
        self._open_model = open_model
        self._circuits = circuits
        self._position = 0
        self._state = CLOSED  # of the present model's circuit, when it was chosen
        self._tried: set[int] = set()
        self._hopeless: set[int] = set()
        self._has_waited = False  # for a rate limit, in this turn
        self._stays = False  # the same model is asked again, with another request or after a short delay
        self.may_retry = True  # whether a further round may help, after the newest failure

    @property
    def first_token_timeout(self) -> float | None:
        """Return how many seconds the present model has for its first token; None if there is no other one to ask."""
        return self.present.spec.first_token_timeout if self.has_more else None

    @property
    def has_more(self) -> bool:
        """Whether there is a model that this round has not asked."""
        return next(self._untried(), None) is not None

    async def begin_turn(self) -> RunWarning | None:
        """Choose the model of the next turn: the present one, unless its server fails repeatedly."""
        self._tried.clear()
        self._hopeless.clear()
        self._has_waited = self._stays = False
        if len(self._specs) == 1:
            return None
        skipped = self.present.spec
        self._state = await self._circuits.state(skipped)
        if self._state != OPEN:
            return None
        for position in self._untried():
            state = await self._circuits.state(self._specs[position])
            if state != OPEN:
                await self._choose(position, state)
                reason = f"{_name(skipped)} is not asked, because its server failed repeatedly."
                return self._warning(reason, SKIPPED)
        return None

    async def answers(self) -> None:
        """Count the present model's first token."""
        await self._circuits.succeeded(self.present.spec, self._state)
        self._state = CLOSED

    async def after(self, error: ModelError, *, has_tokens: bool, can_retry: bool) -> RunWarning | None:
        """Choose another model after a failure, if there was no token. None if this round has asked all that may help.

        `can_retry`: whether the present model may succeed later.
        """
        self.may_retry = can_retry
        self._stays = has_tokens or isinstance(error, FileRefused) or self._waits(error)
        if self._stays:
            return None
        await self._count(error)
        failed = self.present.spec
        self._tried.add(self._position)
        position, state = await self._next(error)
        if position is None and error.code == "context_length_exceeded":
            self._stays = True  # with less of the conversation
            return None
        if not can_retry:
            self._hopeless.add(self._position)
        if position is None:
            self.may_retry = len(self._hopeless) < len(self._specs)
            return None
        await self._choose(position, state)
        return self._warning(f"{_name(failed)} failed: {error}", error.code)

    async def begin_round(self) -> bool:
        """Return to the first model that a retry can help. Whether that is another one than was asked last."""
        self._tried.clear()
        if self._stays:
            return False
        position = next(each for each in range(len(self._specs)) if each not in self._hopeless)
        if position == self._position:
            return False
        await self._choose(position, await self._circuits.state(self._specs[position]))
        return True

    async def _count(self, error: ModelError) -> None:
        if error.code in _OF_SERVER:
            await self._circuits.failed(self.present.spec, self._state)
            self._state = OPEN
        else:
            await self._circuits.succeeded(self.present.spec, self._state)
            self._state = CLOSED

    def _waits(self, error: ModelError) -> bool:
        """Whether to wait for a rate limit, once in a turn, because that takes a moment only."""
        if self._has_waited or error.code != "model_rate_limited" or not isinstance(error, ModelUnavailable):
            return False
        self._has_waited = error.retry_after is not None and error.retry_after <= PATIENCE
        return self._has_waited

    def _untried(self) -> Iterator[int]:
        done = {self._position, *self._tried, *self._hopeless}
        return (position for position in range(len(self._specs)) if position not in done)

    async def _next(self, error: ModelError) -> tuple[int | None, str]:
        """Return the next model of this round: one whose server works, else any. A longer request needs more room."""
        room = self.present.spec.context_tokens if error.code == "context_length_exceeded" else 0
        positions = [each for each in self._untried() if self._specs[each].context_tokens > room]
        for position in positions:
            state = await self._circuits.state(self._specs[position])
            if state != OPEN:
                return position, state
        return (positions[0], OPEN) if positions else (None, CLOSED)

    async def _choose(self, position: int, state: str) -> None:
        if position not in self._opened:
            self._opened[position] = await self._open_model(self._choices[position - 1])
        self._position, self._state, self.present = position, state, self._opened[position]

    def _warning(self, reason: str, code: str) -> RunWarning:
        metrics.MODEL_FALLBACKS.labels(code).inc()
        return RunWarning(f"{reason} Asking {_name(self.present.spec, begins=False)} instead.", "model_fallback")


Opener = Callable[[ModelChoice], Awaitable[OpenModel]]


def _name(spec: ModelSpec, *, begins: bool = True) -> str:
    return f"{'The' if begins else 'the'} model {spec.model!r} of {spec.provider!r}"

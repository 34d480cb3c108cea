"""What happens in a turn, in the order in which it happens."""

from dataclasses import dataclass, field
from typing import Any

THOUGHT = "thought"
TOOL_USE = "tool_use"
TOOL_RESULT = "tool_result"
FINAL_ANSWER = "final_answer"
ERROR = "error"


@dataclass(slots=True)
class Delta:
    """A piece of a step that is not finished. `offset`: characters of the step before it."""

    step: int
    type: str
    iteration: int
    offset: int
    content: str


@dataclass(slots=True)
class StepDone:
    """A finished step. `started` and `finished` are seconds since the epoch."""

    index: int
    type: str
    iteration: int
    content: str
    started: float
    finished: float
    tool_call_id: str = ""
    tool_name: str = ""
    arguments: dict[str, Any] | None = None
    is_error: bool = False
    provider_data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ToolsStarting:
    """The model's calls, and a ledger row for each result, `(index, call step)`.

    Whoever runs the loop writes these down before asking for the next event: only then are the tools called.
    """

    uses: list[StepDone]
    results: list[StepDone]


@dataclass(slots=True)
class Retry:
    """The model is asked again after `delay` seconds: the deltas of `steps` do not count."""

    steps: list[int]
    attempt: int
    reason: str
    delay: float


@dataclass(slots=True)
class Answered:
    """The end of a turn that went well. `truncated`: the model stopped at its length limit."""

    content: str
    truncated: bool = False


Event = Delta | StepDone | ToolsStarting | Retry | Answered

"""What happens in a turn, in the order in which it happens."""

from dataclasses import dataclass, field
from typing import Any

from agents_app.engine.toolset import Attachment

THOUGHT = "thought"
TOOL_USE = "tool_use"
TOOL_RESULT = "tool_result"
FINAL_ANSWER = "final_answer"
ERROR = "error"
CUT_SHORT = ("length", "content_filter")  # how a model stops before its answer is whole


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
    attachments: tuple[Attachment, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)  # more for watchers, beside what every step has


@dataclass(slots=True)
class ToolsStarting:
    """The model's calls, and a ledger row for the result of each.

    Whoever runs the loop writes these down before asking for the next event: only then are the tools of `results`
    called. Those of `waiting` are called when a person has approved them.
    """

    uses: list[StepDone]
    results: list[StepDone]
    waiting: list[StepDone] = field(default_factory=list)


@dataclass(slots=True)
class Parked:
    """Nothing can go on before a person has said something to each of these calls. It is the turn's last event."""

    waiting: list[StepDone]


@dataclass(slots=True)
class Warned:
    """Something is amiss that the run goes on without."""

    message: str
    code: str


@dataclass(slots=True)
class Retry:
    """The model is asked again after `delay` seconds: the deltas of `steps` do not count."""

    steps: list[int]
    attempt: int
    reason: str
    delay: float


@dataclass(slots=True)
class Answered:
    """The end of a turn that went well. `cut_short`: why the answer is not whole, one of CUT_SHORT; empty if it is."""

    content: str
    cut_short: str = ""


Event = Delta | StepDone | ToolsStarting | Parked | Warned | Retry | Answered

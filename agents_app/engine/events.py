"""The events of a run, in the order in which the loop yields them."""

from dataclasses import dataclass, field
from typing import Any

from agents_app.engine.spec import Compaction
from agents_app.engine.toolset import Attachment

THOUGHT = "thought"
TOOL_USE = "tool_use"
TOOL_RESULT = "tool_result"
FINAL_ANSWER = "final_answer"
ERROR = "error"
OF_MODELS = frozenset({THOUGHT, TOOL_USE, FINAL_ANSWER})  # steps that a model writes
CUT_SHORT = ("length", "content_filter")  # end reasons of an answer that is not complete
UNKNOWN_END = "unknown"  # the server did not say why the answer ended, which may be cut


@dataclass(slots=True)
class Delta:
    """A piece of an unfinished step. `offset`: characters of the step before it."""

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
    details: dict[str, Any] = field(default_factory=dict)  # more fields of the step's frame
    tool_digest: str = ""  # of the tool of a call that waits for approval
    parameters: dict[str, Any] = field(default_factory=dict)  # the same tool's JSON Schema
    action: str = ""  # see Tool.action
    is_edited: bool = False  # a person has changed the call's arguments


@dataclass(slots=True)
class ToolsStarting:
    """The model's calls, and a ledger row for the result of each.

    The consumer saves these before it takes the next event: only then does the loop call the tools of `results`. It
    calls those of `waiting` after a person approves them.
    """

    uses: list[StepDone]
    results: list[StepDone]
    waiting: list[StepDone] = field(default_factory=list)


@dataclass(slots=True)
class AwaitingApproval:
    """The run waits until a person decides on each of these calls. The last event of this attempt."""

    waiting: list[StepDone]


@dataclass(slots=True)
class RunWarning:
    """A problem that does not end the run."""

    message: str
    code: str


@dataclass(slots=True)
class Compacted:
    """From now on the model is told less of what came before.

    The consumer saves it before it takes the next event. `index`: its step. `seq`: the place in the log; None if it is
    after a step of this run.
    """

    compaction: Compaction
    index: int
    iteration: int
    started: float
    seq: int | None


@dataclass(slots=True)
class Retry:
    """The request to the model is repeated after `delay` seconds: discard the deltas of `steps`."""

    steps: list[int]
    attempt: int
    reason: str
    delay: float


@dataclass(slots=True)
class Answer:
    """The answer: the run is complete. `cut_short`: why the answer is not, one of CUT_SHORT; empty if it is."""

    content: str
    cut_short: str = ""


Event = Delta | StepDone | ToolsStarting | AwaitingApproval | RunWarning | Compacted | Retry | Answer

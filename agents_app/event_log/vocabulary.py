"""The events of the log: a type and a record for each.

The writers make these records, the readers match them, and `/v1/schema/frames` publishes their schema.
"""

import datetime
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, NotRequired, TypedDict, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agents_app.foreign_text import clean_json
from agents_app.live import Frame
from agents_app.models import Run, Step

Count = Annotated[int, Meta(ge=0)]
Moment = Annotated[float, Meta(description="Seconds since the epoch.")]


def _one_of(values: list[str]) -> Meta:
    return Meta(extra_json_schema={"enum": values})


StepType = Annotated[str, _one_of([kind for kind in Step.Kind.values if kind != Step.Kind.COMPACTION.value])]
Trigger = Annotated[str, _one_of(Run.Trigger.values)]
FinalStatus = Annotated[str, _one_of([Run.Status.COMPLETED.value, Run.Status.FAILED.value, Run.Status.CANCELLED.value])]


class EventType(StrEnum):
    """The types of events, in the order of docs/protocol.md."""

    REASONING_START = "reasoning_start"
    REASONING_DELTA = "reasoning_delta"
    REASONING_STEP = "reasoning_step"
    APPROVAL_REQUIRED = "approval_required"
    APPROVAL_RESOLVED = "approval_resolved"
    ACTION_REQUIRED = "action_required"
    ACTION_RESOLVED = "action_resolved"
    COMPACTION = "compaction"
    WARNING = "warning"
    RETRY = "retry"
    RESPONSE = "response"
    INTERRUPTED = "interrupted"
    ERROR = "error"
    REASONING_COMPLETE = "reasoning_complete"
    STEER_QUEUED = "steer_queued"
    STEERED = "steered"
    RUN_REPLACED = "run_replaced"
    FORKED = "forked"


class EventData(msgspec.Struct, frozen=True):
    """The data of an event. Fields that are UNSET are left out of its JSON."""

    event_type: ClassVar[EventType]


class Usage(TypedDict):
    """What a run consumed."""

    input_tokens: Count
    output_tokens: Count
    reasoning_tokens: Count
    cached_tokens: NotRequired[Count]
    requests: Count
    tool_calls: Count


class Attachment(TypedDict):
    """A file that a tool returned. Older logs have its hexadecimal digits as `id`."""

    file_id: NotRequired[str]
    id: NotRequired[Annotated[str, Meta(extra_json_schema={"format": "uuid"})]]
    kind: Annotated[str, _one_of(["text", "image", "audio", "resource", "structured", "given"])]
    media_type: str
    name: str
    size: Count


class MessagePart(TypedDict):
    """A text of a message, or a file without its bytes."""

    type: Annotated[str, _one_of(["text", "file"])]
    text: NotRequired[str]
    file_id: NotRequired[str]
    media_type: NotRequired[str]
    name: NotRequired[str]
    size: NotRequired[Count]


class ReasoningStart(EventData, frozen=True):
    """A run begins. `parts`: the texts and files of its message in their order, if it has files.

    `number`: its place in the session. `follows`: the number of the run that it continues, 0 for none, if that is not
    the one before it. `replaces`: the run of which it is another version.
    """

    event_type = EventType.REASONING_START

    agent: str
    message: str
    enable_reasoning: bool
    message_id: str | None
    trigger: Trigger
    parts: list[MessagePart] | UnsetType = UNSET
    number: Count | UnsetType = UNSET
    follows: Count | UnsetType = UNSET
    replaces: str | UnsetType = UNSET


class ReasoningDelta(EventData, frozen=True):
    """A piece of a step; `offset`: the characters of the step before it. Its `type` is provisional."""

    event_type = EventType.REASONING_DELTA

    step: Count
    type: StepType
    iteration: Count
    offset: Count
    content: str


class ReasoningStep(EventData, frozen=True, kw_only=True):
    """A whole step. The fields from `tool_name` on are those of tool calls and their results.

    `action_id`: of a call that the calling program executes. `model` and `provider`: the model that wrote the step, if
    that is not the agent's first one.
    """

    event_type = EventType.REASONING_STEP

    step: Count
    type: StepType
    content: str
    iteration: Count
    timestamp: Moment
    tool_name: str | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    arguments: dict[str, Any] | UnsetType = UNSET
    is_error: bool | UnsetType = UNSET
    duration_ms: Count | UnsetType = UNSET
    attachments: list[Attachment] | UnsetType = UNSET
    child_run_id: str | UnsetType = UNSET
    child_session_id: str | UnsetType = UNSET
    action_id: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET


class ApprovalRequired(EventData, frozen=True):
    """A person must approve a tool call."""

    event_type = EventType.APPROVAL_REQUIRED

    tool_call_id: str
    tool_name: str
    arguments: dict[str, Any]
    expires_at: Annotated[datetime.datetime, Meta(tz=True)]


class ApprovalResolved(EventData, frozen=True):
    """A tool call was approved or denied. `arguments`: those with which the person replaced the model's."""

    event_type = EventType.APPROVAL_RESOLVED

    tool_call_id: str
    tool_name: str
    approved: bool
    reason: str
    by: str
    arguments: dict[str, Any] | UnsetType = UNSET


class ActionRequired(EventData, frozen=True):
    """A question of the agent must be answered, or a tool executed. `response_schema`: the JSON Schema of the response.

    `message`: the question.
    """

    event_type = EventType.ACTION_REQUIRED

    action_id: str
    kind: Annotated[str, _one_of(["question", "client_tool"])]
    tool_call_id: str
    tool_name: str
    message: str
    arguments: dict[str, Any]
    response_schema: dict[str, Any]
    expires_at: Annotated[datetime.datetime, Meta(tz=True)]


class ActionResolved(EventData, frozen=True):
    """An action was answered, or will not be. `by` is empty if nobody answered in time. `response`: to a question."""

    event_type = EventType.ACTION_RESOLVED

    action_id: str
    outcome: Annotated[str, _one_of(["answered", "declined", "expired"])]
    response: str
    reason: str
    by: str


class Compaction(EventData, frozen=True):
    """From here on the model gets less of what came before `upto_seq`: see `kind`.

    `tool_results`: a line in the place of each long result. `summary`: this text in the place of everything, written
    by `model`. Tokens are those of the whole request, estimated.
    """

    event_type = EventType.COMPACTION

    upto_seq: Count
    kind: Annotated[str, _one_of(["tool_results", "summary"])]
    tokens_before: Count
    tokens_after: Count
    summary: str | UnsetType = UNSET
    model: str | UnsetType = UNSET


class Warning(EventData, frozen=True):
    """The run continues, but not quite as configured."""

    event_type = EventType.WARNING

    message: str
    code: str


class Retry(EventData, frozen=True):
    """The step begins again: discard its deltas."""

    event_type = EventType.RETRY

    step: Count
    attempt: Count
    reason: str
    delay_ms: Count


class Response(EventData, frozen=True):
    """The answer of a run whose reasoning is not shown."""

    event_type = EventType.RESPONSE

    content: str


class Interrupted(EventData, frozen=True):
    """Somebody stopped the run."""

    event_type = EventType.INTERRUPTED

    message: str
    by: str


class Error(EventData, frozen=True):
    """Why the run failed."""

    event_type = EventType.ERROR

    message: str
    code: str


class ReasoningComplete(EventData, frozen=True):
    """The last event of a run. `context_tokens`: what its last request and answer took of the model's window.

    `cost`: US dollars, left out if the price of the model is unknown.
    """

    event_type = EventType.REASONING_COMPLETE

    status: FinalStatus
    iterations: Count
    usage: Usage
    duration_ms: Count
    context_tokens: Count | UnsetType = UNSET
    context_window: Count | UnsetType = UNSET
    cost: str | UnsetType = UNSET


class SteerQueued(EventData, frozen=True):
    """A message for a run in progress. The run takes it between two model turns, or it becomes a run of its own."""

    event_type = EventType.STEER_QUEUED

    message_id: str
    message: str
    parts: list[MessagePart] | UnsetType = UNSET


class Steered(EventData, frozen=True):
    """The run has taken a message, before the model turn `iteration`."""

    event_type = EventType.STEERED

    message_id: str
    iteration: Count


class RunReplaced(EventData, frozen=True):
    """Another version of a run is the current one from now on, by a new run or by a choice between existing ones.

    `head`: the number of the run at the end of the session's path. `newest`: the number of its newest run; one of a
    greater number becomes the end of the path when it starts.
    """

    event_type = EventType.RUN_REPLACED

    run_id: str
    by_run_id: str
    head: Count
    newest: Count


class Forked(EventData, frozen=True):
    """The session begins here; what comes before is the log of the session that it was forked from, after a run.

    `head` and `newest`: as of `run_replaced`.
    """

    event_type = EventType.FORKED

    session_id: str
    run_id: str
    head: Count
    newest: Count


RECORDS: dict[EventType, type[EventData]] = {record.event_type: record for record in EventData.__subclasses__()}

Data = TypeVar("Data", bound=EventData)
Sequence = Annotated[int, Meta(ge=1)]


class LogFrame(msgspec.Struct, Generic[Data], frozen=True):
    """A frame of the log, as watchers get it."""

    type: str
    seq: Sequence
    run_id: uuid.UUID | None
    timestamp: Moment
    data: Data
    first: Sequence | UnsetType = UNSET


class _Header(msgspec.Struct, frozen=True):
    type: str
    run_id: uuid.UUID | None


_encode = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(_Header).decode
_decoders = {kind: msgspec.json.Decoder(LogFrame[record]) for kind, record in RECORDS.items()}  # type: ignore[valid-type]


def encode(data: EventData) -> str:
    """Return the JSON of an event's data. Half of a character in it, which no JSON can have, becomes U+FFFD."""
    try:
        return _encode(data).decode()
    except UnicodeEncodeError:
        fields = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET}
        return _encode(clean_json(fields)).decode()


@dataclass(frozen=True, slots=True)
class Event:
    """A frame of the log as readers use it."""

    frame: Frame
    type: str
    run_id: uuid.UUID | None

    @property
    def seq(self) -> int:
        return self.frame.seq

    @property
    def ends_run(self) -> bool:
        return self.type == EventType.REASONING_COMPLETE

    @property
    def data(self) -> EventData | None:
        """The record of the event; None if a newer version wrote a type that this one does not know."""
        decoder = _decoders.get(self.type)  # type: ignore[call-overload]
        return decoder.decode(self.frame.text).data if decoder else None


def parse(frame: Frame) -> Event:
    """Return the event of a frame. Its data are decoded when they are asked for."""
    header = _decode_header(frame.text)
    return Event(frame, header.type, header.run_id)

"""The values that a run is made of: agent, model, tools' servers, limits and conversation."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Where a model is and its name. Those of one address, key and headers share connections.

    `provider`: the name of its server, for people. `circuit`: of that server, see `engine.fallbacks`.
    `first_token_timeout`: seconds, for agents with more models.
    """

    kind: str
    base_url: str
    api_key: str = field(repr=False)
    headers: tuple[tuple[str, str], ...]
    model: str
    context_tokens: int
    provider: str = ""
    circuit: str = ""
    first_token_timeout: float = 30

    @property
    def place(self) -> tuple[str, str]:
        """Return the names of provider and model, by which steps and prices know it."""
        return self.provider, self.model


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One of an agent's models. `accepts`: of text, image, pdf and audio; None: as known of it."""

    model: ModelSpec
    accepts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """In the model turn of that number, the model must call the tool of that name, or any tool if `name` is empty."""

    name: str = ""
    turn: int = 1


@dataclass(frozen=True, slots=True)
class Parameters:
    """How the model should answer. None leaves the choice to the model.

    `response_format`: as in OpenAI's chat completions, a `json_schema` or any `json_object`.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    reasoning_effort: str = ""
    thinking_budget: int | None = None
    stop: tuple[str, ...] = ()
    response_format: dict[str, Any] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. Time-outs are in seconds; tokens count input and output together.

    `max_result_characters`: of one MCP tool's result, as the model gets it. `max_progress_characters`: of the progress
    that one call shows. `min_turn_characters` and `max_turn_characters` bound what the model may write in one turn,
    and so in one step; `max_run_characters`: in one run, with the turns that were repeated.
    """

    max_iterations: int = 20
    timeout: float = 300
    approval_timeout: float = 86_400
    max_total_tokens: int | None = None
    max_result_characters: int = 50_000
    max_progress_characters: int = 64 * 1024
    min_turn_characters: int = 1024 * 1024
    max_turn_characters: int = 16 * 1024 * 1024
    max_run_characters: int = 32 * 1024 * 1024

    def turn_characters(self, max_tokens: int | None) -> int:
        """Return how many characters one turn of a model may have: room for 4 times `max_tokens`, of 6 each."""
        return min(max(24 * (max_tokens or 0), self.min_turn_characters), self.max_turn_characters)


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What the process of a stdio server may use: bytes of memory, seconds of CPU, processes, open files.

    `file_size`: bytes of a file that it writes. None: no limit.
    """

    memory: int | None = 2 * 1024**3
    cpu_seconds: int | None = None
    processes: int | None = 512
    open_files: int | None = 1024
    file_size: int | None = 1024**3


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What a command may reach, beside the system's programs and its own folder.

    `network`: the internet, or the `hosts` alone if there are any: names, patterns of names, addresses, networks.
    `folders`: paths, and whether it may write to them. `hidden`: paths that are never shown, whatever they are part of.
    """

    network: bool
    hosts: tuple[str, ...] = ()
    folders: tuple[tuple[str, bool], ...] = ()
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """An MCP server, its variables expanded. Equal specs share one connection.

    `timeout` is in seconds, of one call. `tool_timeouts` and the patterns `allowed` (none: all) and `denied` use the
    server's own names of tools. `folder` is the working directory of a stdio server, `sandbox` what it may
    reach; None: all that we may. `problem`: why the server cannot
    be used at all, for example a variable that is not set. `tool_digests`: of the tools at the last check. `scope`: the
    user or session whose own connection it is; empty for one that all share.
    """

    name: str
    transport: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    url: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float = 60
    tool_timeouts: tuple[tuple[str, float], ...] = ()
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    folder: str = ""
    limits: ProcessLimits = ProcessLimits()
    sandbox: SandboxSpec | None = None
    scope: str = ""
    problem: str = ""
    tool_digests: tuple[tuple[str, str], ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent as the engine sees it. Patterns match the full names of tools: server__tool."""

    name: str
    system_prompt: str
    model: ModelSpec
    parameters: Parameters = Parameters()
    accepts: tuple[str, ...] | None = None  # as of `ModelChoice`
    fallbacks: tuple[ModelChoice, ...] = ()  # asked in this order where `model` does not answer
    builtin_tools: tuple[str, ...] = ()
    servers: tuple[ServerSpec, ...] = ()
    allowed_tools: tuple[str, ...] = ()
    denied_tools: tuple[str, ...] = ()
    approval_required: tuple[str, ...] = ()
    client_tools: tuple[dict[str, Any], ...] = ()  # as `client_tools.checked` returned them
    limits: Limits = Limits()
    compaction: str = "summary"  # of a full window: "off", "tools" or "summary"
    compact_at: int = 80  # percent of the window
    compact_threshold: int | None = None  # tokens, if the run's caller names a number
    keeps_earlier: bool = True  # whether a summary leaves the newest messages of the history out

    @property
    def choices(self) -> tuple[ModelChoice, ...]:
        """Return all its models, in the order in which they are asked."""
        return (ModelChoice(self.model, self.accepts), *self.fallbacks)

    @property
    def largest_window(self) -> int:
        """Return the most tokens that one of its models takes."""
        return max(choice.model.context_tokens for choice in self.choices)

    @property
    def can_wait(self) -> bool:
        """Whether a run may wait for a person or for the calling program."""
        return bool(self.approval_required or self.client_tools) or "ask_user" in self.builtin_tools

    @property
    def can_ask_agents(self) -> bool:
        return "ask_agent" in self.builtin_tools


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model makes. `arguments` is its JSON text, unchanged.

    `fields`: what its server attached to it, and gets back unchanged.
    """

    id: str
    name: str
    arguments: str
    fields: dict[str, Any] = field(default_factory=dict)


def replay_call(
    call_id: str, name: str, arguments: dict[str, Any] | None, text: str, provider_data: dict[str, Any] | None = None
) -> ToolCall:
    """Return a past call in a form that models' servers accept: they reject invalid names and arguments.

    The call's result says what was wrong with it.
    """
    usable = text if arguments is not None and text.strip() else "{}"
    fields = (provider_data or {}).get("call_fields", {})
    return ToolCall(call_id, re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:64] or "unknown", usable, fields)


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file in a message, without its bytes. `size` is in bytes."""

    file_id: str
    media_type: str
    name: str
    size: int


def result_parts(content: str, files: Iterable[FilePart]) -> tuple[str | FilePart, ...]:
    """Return the parts of a tool's result: its text, and those of its files that a model may see or hear."""
    shown = [file for file in files if file.media_type.startswith(_SHOWN)]
    return (content, *shown) if shown else ()


_SHOWN = ("image/", "audio/", "application/pdf")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation, in no provider's format.

    `parts`: the texts and files in their order, if there are files; `content` is the texts alone.
    `blocks`: a turn of the model in its provider's format, which must be sent back unchanged; `fields`: what its server
    attached to it. `origin` names the only provider and model, or server, that get them and the calls' fields.
    `step`: of a tool's result, in its run. `is_note`: this server wrote it in the place of what it left out.
    `encoded`: the message as JSON, by API and origin: a message of an earlier run is in the request of each later one.
    """

    role: Literal["user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    is_error: bool = False
    parts: tuple[str | FilePart, ...] = ()
    blocks: tuple[dict[str, Any], ...] = ()
    origin: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    encoded: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    step: int | None = field(default=None, compare=False)
    is_note: bool = field(default=False, compare=False)


def replay_turn(provider_data: dict[str, Any], calls: Iterable[ToolCall]) -> Message:
    """Return a past turn that called tools. `provider_data` is that of its first call."""
    return Message(
        "assistant",
        provider_data["text"],
        tool_calls=tuple(calls),
        blocks=tuple(provider_data.get("blocks", ())),
        origin=provider_data.get("origin", ""),
        fields=provider_data.get("fields", {}),
    )


def replay_answer(text: str, provider_data: dict[str, Any]) -> Message:
    """Return a past answer. `provider_data` is that of its step."""
    fields, origin = provider_data.get("fields", {}), provider_data.get("origin", "")
    return Message("assistant", text, origin=origin, fields=fields)


@dataclass(slots=True)
class Usage:
    """Tokens as the provider counts them, and the number of requests and calls.

    `by_model`: the same of each model by its `place`, if more than one was asked.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    requests: int = 0
    tool_calls: int = 0
    by_model: dict[tuple[str, str], "Usage"] = field(default_factory=dict, repr=False)

    def of(self, place: tuple[str, str]) -> "Usage":
        """Return the usage of one model, to be added to."""
        return self.by_model.setdefault(place, Usage())

    def as_dict(self) -> dict[str, int]:
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "cached_tokens": self.cached_tokens,
            "requests": self.requests,
            "tool_calls": self.tool_calls,
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer to a call that needs one. `by` is empty if nobody gave one in time.

    `tool_digest`: of the tool when the call was made; empty if it has none. `arguments`: those with which the person
    replaced the model's, if any. `response`: the answer to a question, or the result that the calling program gave.
    """

    approved: bool
    reason: str = ""
    by: str = ""
    tool_digest: str = ""
    arguments: dict[str, Any] | None = None
    response: str = ""
    is_error: bool = False  # the result is that the tool failed
    action: str = ""  # of the tool: see Tool.action


@dataclass(frozen=True, slots=True)
class OpenTool:
    """A tool call of an earlier attempt without a result. `index` is its step, `use` the model's call.

    One that is not `started` waits, or waited, for a person: `decision` is the outcome. `cut`: why it was not complete.
    """

    index: int
    use: ToolCall
    iteration: int
    started: bool
    decision: Decision | None = None
    cut: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a session: after a run, after so many `messages` that its caller sent before its prompt, or after its
    `step`.
    """

    run: str
    messages: int | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the history can be divided: `end` messages are before `position`. `seq`: the same place in the log."""

    end: int
    position: Position
    seq: int


@dataclass(frozen=True, slots=True)
class Compaction:
    """What is told to the model instead of all before `upto`: a summary, or `tool_results` replaced by a line each.

    `text`: the summary as the model gets it. `tokens_before` and `tokens_after`: of the request, estimated.
    """

    kind: Literal["tool_results", "summary"]
    upto: Position
    text: str = ""
    tokens_before: int = 0
    tokens_after: int = 0
    model: str = ""


@dataclass(slots=True)
class Conversation:
    """The messages for the model, and the position in the run.

    `history` is the session before this run, `turns` this run so far; `marks` are the places in the history where it
    can be divided, oldest first. `run`: the run's id. `has_more`: there are older runs than the history has.
    `context_tokens`: what the newest request and its answer took of the window.
    """

    history: list[Message]
    prompt: str
    turns: list[Message] = field(default_factory=list)
    open_tools: list[OpenTool] = field(default_factory=list)
    approved_tools: dict[str, str] = field(default_factory=dict)  # for the rest of this run, with their digests
    next_index: int = 0
    iteration: int = 0
    usage: Usage = field(default_factory=Usage)
    prompt_parts: tuple[str | FilePart, ...] = ()  # see Message.parts
    run: str = ""
    marks: list[Mark] = field(default_factory=list)
    has_more: bool = False
    context_tokens: int = 0


JSON = dict[str, Any]

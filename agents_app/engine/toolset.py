"""Tools that an agent may call: their description for the model, and the functions behind them."""

import dataclasses
import fnmatch
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents_app.engine.spec import FilePart, Limits

logger = logging.getLogger(__name__)

NAME = r"[A-Za-z0-9_-]{1,64}"  # a tool's name that every model provider accepts
QUESTION, CLIENT_TOOL = "question", "client_tool"  # see Tool.action


@dataclass(frozen=True, slots=True)
class Attachment:
    """Data that a tool returned beside, or instead of, text for the model: stored once, and referred to.

    `kind`: `text` (the complete text, if the model gets only a part), `image`, `audio`, `resource`, `structured`, or
    `given` by an agent.
    """

    kind: str
    media_type: str
    data: bytes
    name: str = ""
    file_id: str = ""  # of the file that it becomes
    stored_id: int | None = None  # of that file's bytes, once they are stored

    def part(self) -> FilePart | None:
        """Return it as a part of a message, if it becomes a file."""
        return FilePart(self.file_id, self.media_type, self.name, len(self.data)) if self.file_id else None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """Text for the model, and attachments for people. `details` go into the step's frame."""

    content: str
    is_error: bool = False
    attachments: tuple[Attachment, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool, as the tool sees it. `progress` shows a line of text to watchers; `limits` are the run's.

    `user` stands for the user whose run it is, and says nothing about who that is.
    """

    id: str
    progress: Callable[[str], None]
    limits: Limits = field(default_factory=Limits)
    user: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the model sees it, and the function behind it.

    `read_only` and `idempotent` say whether a call may be repeated after a crash. `timeout` is in seconds; None: the
    loop's default. `server`: the MCP server that it belongs to, which calls it `own_name`. `digest`: of what such a
    server says of the tool, which may change at any time. `action`: instead of the server, a person (QUESTION) or the
    program that started the run (CLIENT_TOOL) answers the call.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    call: Callable[[dict[str, Any], Call], Awaitable[str | ToolResult]]
    read_only: bool = False
    idempotent: bool = False
    timeout: float | None = None
    server: str = ""
    own_name: str = ""
    digest: str = ""
    action: str = ""

    @property
    def may_run_again(self) -> bool:
        return self.read_only or self.idempotent


class ToolError(Exception):
    """A call failed. The text is for the model, so that it can correct itself."""


class ToolsUnavailable(Exception):
    """A source has no tools now. The text says why, for the model and for people."""


class ToolSource(Protocol):
    """A source of tools that may change during a run: an MCP server."""

    name: str

    async def tools(self) -> Sequence[Tool]:
        """Return the current tools; cheap if nothing has changed.

        Raises:
            ToolsUnavailable: there are none now.
        """
        ...

    def left_out(self) -> str:
        """Return a sentence about the tools that the source has, but that cannot be used; empty if there are none."""
        ...

    def changes(self) -> str:
        """Return a sentence about tools that are not what an administrator checked; empty if there are none."""
        ...


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns (`*`, `?`, `[…]`, as in a shell) matches the name."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


class Toolset:
    """The tools of one run, by name: fixed ones, and those of sources, which `refresh` lists again.

    `allowed` and `denied` are patterns of names; an empty `allowed` allows all. `approval`: patterns of tools whose
    calls a person must approve. `keep` stores the attachments of a result, and says of which it became files. `user`
    is whose calls they are: see `Call`. `in_reserve`: tools that the model has only from `offer` on.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        sources: Sequence[ToolSource] = (),
        *,
        allowed: Sequence[str] = (),
        denied: Sequence[str] = (),
        approval: Sequence[str] = (),
        keep: "Callable[[ToolResult], Awaitable[ToolResult]] | None" = None,
        user: str = "",
        in_reserve: Iterable[Tool] = (),
    ) -> None:
        self._keep, self._user = keep, user
        self._in_reserve = {tool.name: tool for tool in in_reserve}
        self._fixed = tuple(tools)
        self._sources = sources
        self._allowed, self._denied, self._approval = allowed, denied, approval
        self.tools: tuple[Tool, ...] = self._usable(self._fixed)
        self.problems: dict[str, str] = {}
        self._changes: dict[str, str] = {}

    async def refresh(self) -> list[tuple[str, str]]:
        """List the sources' tools again. Returns a sentence for each new problem or change, and its code."""
        tools = list(self._fixed)
        problems: dict[str, str] = {}
        changes: dict[str, str] = {}
        for source in self._sources:
            try:
                tools += await source.tools()
                problem = source.left_out()
            except ToolsUnavailable as error:
                problem = str(error)
            if problem:
                problems[source.name] = problem
            if change := source.changes():
                changes[source.name] = change
        news = [(text, "tools_unavailable") for name, text in problems.items() if self.problems.get(name) != text]
        news += [(text, "tools_changed") for name, text in changes.items() if self._changes.get(name) != text]
        self.tools, self.problems, self._changes = self._usable(tools), problems, changes
        return news

    def offer(self, name: str) -> None:
        """Add a tool that is in reserve, if it is allowed."""
        if tool := self._in_reserve.pop(name, None):
            self._fixed = (*self._fixed, tool)
            self.tools = self._usable((*self.tools, tool))

    def _usable(self, tools: Iterable[Tool]) -> tuple[Tool, ...]:
        usable: dict[str, Tool] = {}
        for tool in tools:
            if tool.action == CLIENT_TOOL or self._is_allowed(tool.name):
                usable.setdefault(tool.name, tool)
        return tuple(usable.values())

    def _is_allowed(self, name: str) -> bool:
        return (not self._allowed or matches(name, self._allowed)) and not matches(name, self._denied)

    def needs_approval(self, name: str) -> bool:
        return matches(name, self._approval)

    def server_of(self, name: str) -> str:
        """Return the MCP server of the tool; empty if it has none."""
        return next((tool.server for tool in self.tools if tool.name == name), "")

    def digest_of(self, name: str) -> str:
        """Return the digest of the tool; empty if it has none, or is not there."""
        return next((tool.digest for tool in self.tools if tool.name == name), "")

    def get(self, name: str) -> Tool:
        """Return the tool of that name.

        Raises:
            ToolError: there is none. The text lists the available ones.
        """
        for tool in self.tools:
            if tool.name == name:
                return _of_user(tool if self._keep is None else _with_kept_results(tool, self._keep), self._user)
        names = ", ".join(tool.name for tool in self.tools) or "none"
        raise ToolError(f"There is no tool {name!r}. Available tools: {names}.")


def _with_kept_results(tool: Tool, keep: Callable[[ToolResult], Awaitable[ToolResult]]) -> Tool:
    async def call(arguments: dict[str, Any], call: Call) -> str | ToolResult:
        result = await tool.call(arguments, call)
        return await keep(result) if isinstance(result, ToolResult) and result.attachments else result

    return dataclasses.replace(tool, call=call)


def _of_user(tool: Tool, user: str) -> Tool:
    async def call(arguments: dict[str, Any], call: Call) -> str | ToolResult:
        return await tool.call(arguments, dataclasses.replace(call, user=user))

    return dataclasses.replace(tool, call=call) if user else tool


def check_arguments(tool: Tool, arguments: dict[str, Any]) -> None:
    """Check the arguments against the tool's schema.

    Raises:
        ToolError: they do not fit. The text says where and why.
    """
    check_schema(tool.name, tool.parameters, arguments)


def check_schema(name: str, parameters: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Check as `check_arguments` does, against the schema that a tool of this name had."""
    from agents_app.engine import foreign_schema  # 0.1 s, which `preparation` takes off the start

    try:
        _reject_mismatch(foreign_schema.first_error(parameters, arguments))
    except foreign_schema.UnusableSchema as broken:
        raise _unusable(name, broken) from None


async def acheck_arguments(tool: Tool, arguments: dict[str, Any]) -> None:
    """Check as `check_arguments` does, without holding up the event loop."""
    from agents_app.engine import foreign_schema

    try:
        _reject_mismatch(await foreign_schema.afirst_error(tool.parameters, arguments))
    except foreign_schema.UnusableSchema as broken:
        raise _unusable(tool.name, broken) from None


def _unusable(name: str, problem: Exception) -> ToolError:
    logger.warning("The schema of the tool %s cannot be used: %s", name, problem)
    return ToolError(f"The schema of the tool cannot be used: {problem}.")


def _reject_mismatch(error: Any) -> None:
    if error is not None:
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        path = "".join(parts).lstrip(".")
        where = f" at '{path}'" if path else ""
        raise ToolError(f"The arguments do not fit the tool's schema{where}: {error.message[:500]}")

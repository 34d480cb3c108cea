"""What the model would be told next in a session: message by message, with what was left out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agents_app.engine.spec import AgentSpec, FilePart, Message, ModelSpec
from agents_app.engine.toolset import Toolset
from agents_app.engine.window import Window
from agents_app.exceptions import RunFailed
from agents_app.models import Run, Session, prompt_variables
from agents_app.models.agent_versions import current_id, definition
from agents_app.runs import paths
from agents_app.worker.conversation import conversation
from agents_app.worker.specs import Integrations, run_spec

_LONGEST = 10_000  # characters of one message
_MOST = 2**21  # characters of all
_SHORT = 200  # characters of each message after that
_UNKNOWN = AgentSpec("", "", ModelSpec("", "", "", (), "", 8192))


@dataclass(frozen=True, slots=True)
class ContextMessage:
    """A message of the next request. `kind`: `message`, or `summary` or `replaced_result` in the place of others."""

    role: str
    kind: str
    content: str | None
    characters: int
    tokens: int
    files: list[str] = field(default_factory=list)
    tool_call_id: str = ""
    tool_calls: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NextContext:
    """The next request of a session without its prompt and the tools of MCP servers. Tokens are estimated."""

    agent_name: str | None
    agent_version: int | None
    model: str
    compaction: str
    context_window: int
    answer_tokens: int
    compact_at_tokens: int
    tokens: int
    messages: list[ContextMessage]
    left_out: dict[str, int]


def next_context(session: Session, *, with_prompt: bool) -> NextContext:
    """Return the context of the session's next run. `with_prompt`: with the text of the agent's system prompt."""
    number = session.run_count + 1
    run = Run(session=session, number=number, follows=session.head, agent=session.agent, attempt=1)
    spec, version = _spec(run, session)
    context = conversation(run, spec.model.context_tokens)
    window = Window(spec, spec.model, context, Toolset(()))
    fitted = window.fit()
    messages = list(_messages(window, fitted.messages, with_prompt=with_prompt))
    return NextContext(
        agent_name=session.agent.name if session.agent else None,
        agent_version=version,
        model=spec.model.model,
        compaction=spec.compaction,
        context_window=spec.model.context_tokens,
        answer_tokens=window.answer_tokens,
        compact_at_tokens=window.tokens(window.summary_at),
        tokens=sum(message.tokens for message in messages),
        messages=messages,
        left_out={
            "runs": sum(1 for _ in paths.path(session, run.followed)) - len(context.marks),
            "results": sum(message.kind == "replaced_result" for message in messages),
            "messages": fitted.left_out,
        },
    )


def _spec(run: Run, session: Session) -> tuple[AgentSpec, int | None]:
    if session.agent is None:
        return _UNKNOWN, None
    run.agent_version_id = current_id(session.agent)
    run.agent_name = session.agent.name
    version = definition(run.agent_version_id)
    if session.owner:
        run.variables = prompt_variables.values(
            version.variables, user=session.owner, agent_name=run.agent_name, metadata=session.metadata or {}
        )
    try:
        read = run_spec(run, Integrations())
    except RunFailed:  # its provider was deleted
        read = None
    return (read.spec if read else _UNKNOWN), version.number


def _messages(window: Window, messages: list[Message], *, with_prompt: bool) -> Iterator[ContextMessage]:
    if prompt := window.system_prompt():
        content = prompt if with_prompt else None
        yield ContextMessage("system", "message", content, len(prompt), window.tokens(len(prompt)))
    left = _MOST
    for message in messages:
        longest = min(_LONGEST, max(left, _SHORT))
        left -= len(message.content)
        yield ContextMessage(
            role=message.role,
            kind=_kind(message),
            content=message.content[:longest],
            characters=len(message.content),
            tokens=window.tokens(window.of([message])),
            files=[part.file_id for part in message.parts if isinstance(part, FilePart)],
            tool_call_id=message.tool_call_id,
            tool_calls=[_call(call) for call in message.tool_calls],
        )


def _kind(message: Message) -> str:
    if not message.is_note:
        return "message"
    return "replaced_result" if message.role == "tool" else "summary"


def _call(call: Any) -> dict[str, str]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments[:_SHORT]}

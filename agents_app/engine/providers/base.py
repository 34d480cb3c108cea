"""The interface between the loop and a model: one method."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents_app.engine.providers.file_parts import TEXT, RenderedFile, note
from agents_app.engine.spec import FilePart, Message, Parameters
from agents_app.engine.toolset import Tool


@dataclass(slots=True)
class TextPart:
    """A piece of the answer."""

    text: str


@dataclass(slots=True)
class ReasoningPart:
    """A piece of the model's reasoning before the answer."""

    text: str


@dataclass(slots=True)
class ThoughtEndPart:
    """The text so far was a thought: its closing tag came without an opening one."""


@dataclass(slots=True)
class ToolCallPart:
    """A piece of a tool call. Pieces of the call at `position` are joined; the first `id` counts."""

    position: int
    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class BlocksPart:
    """The whole turn in the provider's format, to be sent back to `origin` unchanged. Comes before the end."""

    origin: str
    blocks: list[dict[str, Any]]


@dataclass(slots=True)
class FieldsPart:
    """Fields of the message, and of each call by its position, to be sent back to `origin` unchanged."""

    origin: str
    message: dict[str, Any]
    calls: dict[int, dict[str, Any]]


@dataclass(slots=True)
class EndPart:
    """The model finished. `reason`: `stop`, `length`, `tool_calls` or `content_filter`.

    `unknown`: the server ended the stream as usual, but did not say why.
    """

    reason: str


_MAX_TOKENS = 10**12  # of one request: a provider's count must not overflow the database's sums


def tokens(count: Any) -> int:
    """Return a provider's count within plausible bounds; what is no number is 0."""
    return max(0, min(int(count), _MAX_TOKENS)) if isinstance(count, int | float) and count == count else 0


@dataclass(slots=True)
class UsagePart:
    """The provider's count of this request's tokens."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int = 0  # of the input: read from the provider's cache


Part = TextPart | ReasoningPart | ThoughtEndPart | ToolCallPart | BlocksPart | FieldsPart | EndPart | UsagePart


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request to a model. `files`: how it gets the files of its messages, by their ids."""

    model: str
    system_prompt: str
    messages: list[Message]
    tools: tuple[Tool, ...]
    parameters: Parameters
    files: Mapping[str, RenderedFile] = field(default_factory=dict)
    on_sent: Callable[[], None] = lambda: None  # for the model to call once the server responds

    def file(self, part: FilePart) -> RenderedFile:
        """Return how the model gets a file: in words, if nobody has rendered it."""
        return self.files.get(part.file_id) or note(part, "this model cannot read it")

    def native_kinds(self) -> frozenset[str]:
        """Return the kinds of files that the model gets as they are."""
        return frozenset(file.kind for file in self.files.values()) - {TEXT}


class Files(Protocol):
    """Renders files for one model."""

    async def render(
        self, messages: Sequence[Message], refused: Collection[str], share: float
    ) -> Mapping[str, RenderedFile]:
        """Return how the model gets the files of these messages, by their ids.

        `refused`: kinds not to use. `share`: of the usual room, after a server rejected the first try as too long.
        """
        ...

    def release(self) -> None:
        """Forget the bytes that the last call of `render` returned, and let others have their room."""
        ...


class Model(Protocol):
    """A model that streams its answer."""

    def stream(self, request: ModelRequest) -> AsyncIterator[list[Part]]:
        """Yield the parts of each read of the socket.

        A stream that ends without an `EndPart` was cut off. Closing the iterator closes the socket.

        Raises:
            ModelUnavailable: a retry may help.
            ModelError: the server rejected the request, or its response is invalid.
        """
        ...

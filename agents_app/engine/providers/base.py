"""The seam between the loop and a model: one method wide."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from agents_app.engine.spec import Message, Parameters
from agents_app.engine.toolset import Tool


@dataclass(slots=True)
class TextPart:
    """A piece of the answer."""

    text: str


@dataclass(slots=True)
class ReasoningPart:
    """A piece of what the model thinks before it answers."""

    text: str


@dataclass(slots=True)
class ToolCallPart:
    """A piece of a tool call. `id` and `name` come with the first piece of the call at `position`."""

    position: int
    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class BlocksPart:
    """The whole turn in the provider's own words, which `origin` wants to hear again unchanged. Before the end."""

    origin: str
    blocks: list[dict[str, Any]]


@dataclass(slots=True)
class EndPart:
    """The model finished. `reason`: `stop`, `length`, `tool_calls` or `content_filter`."""

    reason: str


_MOST_TOKENS = 10**12  # of one request: nobody may count so much that no database holds the sum


def tokens(count: Any) -> int:
    """A provider's count, as far as it can be believed; null is 0."""
    return max(0, min(int(count or 0), _MOST_TOKENS))


@dataclass(slots=True)
class UsagePart:
    """Tokens of this request, as the provider counted them."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int = 0  # of the input: read from the provider's cache


Part = TextPart | ReasoningPart | ToolCallPart | BlocksPart | EndPart | UsagePart


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a model is asked."""

    model: str
    system_prompt: str
    messages: list[Message]
    tools: tuple[Tool, ...]
    parameters: Parameters


class Model(Protocol):
    """A model that streams its answer."""

    def stream(self, request: ModelRequest) -> AsyncIterator[list[Part]]:
        """Yield what each read of the socket brought.

        A stream that ends without an `EndPart` was cut off. Closing the iterator closes the socket.

        Raises:
            ModelUnavailable: worth another try.
            ModelError: the server refused, or its answer made no sense.
        """
        ...

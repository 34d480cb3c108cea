"""Choose the messages of a session that fit into the model's context."""

from typing import Any

from agents_app.engine.spec import Conversation, Message, ModelSpec

_DEFAULT_RATIO = 3.2  # characters per token, a careful estimate for English
_MESSAGE_TOKENS = 6  # role and separators
_ratios: dict[tuple[str, str], float] = {}


def learn(model: ModelSpec, characters: int, tokens: int) -> None:
    """Correct the estimate for this model by its provider's count for a prompt of that length."""
    if tokens > 50:
        ratio = min(max(characters / tokens, 0.5), 6.0)
        previous = _ratios.get((model.base_url, model.model), ratio)
        _ratios[model.base_url, model.model] = 0.5 * previous + 0.5 * ratio


def characters(messages: list[Message]) -> int:
    """Return the size of a request with these messages, in characters."""
    return sum(
        len(m.content)
        + sum(len(c.name) + len(c.arguments) + _size(c.fields) + 20 for c in m.tool_calls)
        + _size(m.fields)
        + _MESSAGE_TOKENS * 3
        for m in messages
    )


def _size(fields: dict[str, Any]) -> int:
    return len(str(fields)) if fields else 0


def fit(
    model: ModelSpec, system_prompt: str, conversation: Conversation, answer_tokens: int, shrink: float = 1.0
) -> list[Message]:
    """Return the newest messages of the history that fit beside the prompt, this run's turns and the answer.

    If older ones are left out, they begin with a user's message, because many models' templates require it. A client's
    own history begins as the client wrote it.
    `shrink`: the share of the context to use, after a server rejected the first try as too long.
    """
    required = [Message("user", conversation.prompt, parts=conversation.prompt_parts), *conversation.turns]
    ratio = _ratios.get((model.base_url, model.model), _DEFAULT_RATIO)
    room = (model.context_tokens - answer_tokens) * ratio * shrink - len(system_prompt) - characters(required)
    recent: list[Message] = []
    for message in reversed(conversation.history):
        room -= characters([message])
        if room < 0:
            break
        recent.append(message)
    is_cut = len(recent) < len(conversation.history)
    while is_cut and recent and recent[-1].role != "user":
        recent.pop()
    return [*reversed(recent), *required]

"""Which of a session's messages fit into the model's context."""

from agents_app.engine.spec import Conversation, Message, ModelSpec

_FIRST_GUESS = 3.2  # characters of a token, on the careful side for English
_MESSAGE_TOKENS = 6  # role and separators
_ratios: dict[tuple[str, str], float] = {}


def learn(model: ModelSpec, characters: int, tokens: int) -> None:
    """Correct the estimate for this model by what its provider counted for a prompt of so many characters."""
    if tokens > 50:
        seen = min(max(characters / tokens, 0.5), 6.0)
        known = _ratios.get((model.base_url, model.model), seen)
        _ratios[model.base_url, model.model] = 0.5 * known + 0.5 * seen


def characters(messages: list[Message]) -> int:
    """What a request with these messages counts, in characters."""
    return sum(
        len(m.content) + sum(len(c.name) + len(c.arguments) + 20 for c in m.tool_calls) + _MESSAGE_TOKENS * 3
        for m in messages
    )


def fitting(
    model: ModelSpec, system_prompt: str, conversation: Conversation, answer_tokens: int, shrink: float = 1.0
) -> list[Message]:
    """The newest of the history that fit beside the prompt, this run's turns and the answer. Oldest go first.

    What is kept begins with a user's message, because many models' templates insist on it.
    `shrink`: the share of the context to use, after a server found the first try too long.
    """
    kept = [Message("user", conversation.prompt), *conversation.turns]
    ratio = _ratios.get((model.base_url, model.model), _FIRST_GUESS)
    room = (model.context_tokens - answer_tokens) * ratio * shrink - len(system_prompt) - characters(kept)
    chosen: list[Message] = []
    for message in reversed(conversation.history):
        room -= characters([message])
        if room < 0:
            break
        chosen.append(message)
    while chosen and chosen[-1].role != "user":
        chosen.pop()
    return [*reversed(chosen), *kept]

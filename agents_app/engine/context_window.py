"""Estimate how much of a model's window texts and files take."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from agents_app.engine.spec import FilePart, Message, ModelSpec

_DEFAULT_RATIO = 3.2  # characters per token, a careful estimate for English
_MESSAGE_TOKENS = 6  # role and separators
_IMAGE_TOKENS = 1600  # the most that a picture counts, at the size that models get
_PAGE_TOKENS = 2000
_MOST_OF_ESTIMATE = 60_000  # characters of a file whose text nobody has extracted yet
_NO_WEIGHTS: Mapping[str, int] = MappingProxyType({})
_ratios: dict[tuple[str, str], float] = {}


def learn(model: ModelSpec, characters: int, tokens: int) -> None:
    """Correct the estimate for this model by its provider's count for a prompt of that length."""
    if tokens > 50:
        ratio = min(max(characters / tokens, 0.5), 6.0)
        previous = _ratios.get((model.base_url, model.model), ratio)
        _ratios[model.base_url, model.model] = 0.5 * previous + 0.5 * ratio


def characters_per_token(model: ModelSpec) -> float:
    """Return the estimate for this model."""
    return _ratios.get((model.base_url, model.model), _DEFAULT_RATIO)


def image_characters() -> int:
    """Return what a picture takes of a window, in characters of text."""
    return int(_IMAGE_TOKENS * _DEFAULT_RATIO)


def page_characters(pages: int) -> int:
    """Return what pages of a PDF take of a window, if the model gets them as they are."""
    return int(pages * _PAGE_TOKENS * _DEFAULT_RATIO)


def file_characters(parts: tuple[str | FilePart, ...], weights: Mapping[str, int] = _NO_WEIGHTS) -> int:
    """Return what the files of a message take. `weights`: of those that were rendered; the others are estimated."""
    files = (part for part in parts if isinstance(part, FilePart))
    return sum(weights.get(part.file_id) or _estimate(part) for part in files)


def _estimate(part: FilePart) -> int:
    if part.media_type.startswith("image/"):
        return image_characters()
    if part.media_type.startswith("text/"):
        return min(part.size, _MOST_OF_ESTIMATE)
    return min(part.size // 20, _MOST_OF_ESTIMATE)


def characters(messages: Iterable[Message], weights: Mapping[str, int] = _NO_WEIGHTS) -> int:
    """Return the size of a request with these messages, in characters."""
    return sum(
        len(m.content)
        + sum(len(c.name) + len(c.arguments) + _size(c.fields) + 20 for c in m.tool_calls)
        + _size(m.fields)
        + (file_characters(m.parts, weights) if m.parts else 0)
        + _MESSAGE_TOKENS * 3
        for m in messages
    )


def _size(fields: dict[str, Any]) -> int:
    return len(str(fields)) if fields else 0

"""What models accept beside text: by their names, by what their servers say, and by what these have refused.

There is no public table of it that one could install: `genai-prices` has prices and windows only.
"""

import re
import time
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

from agents_app.engine.providers.file_parts import AUDIO, IMAGE, PDF, TEXT, kinds_of
from agents_app.engine.spec import ModelSpec
from agents_app.exceptions import ModelError

_REMEMBERED = 3600.0  # seconds: a server may get another model of the same name, or an update
_MOST_KEPT = 10_000

# Names of models, in lower case and without the owner before a slash. The first line that matches counts.
_NAMES: list[tuple[str, frozenset[str]]] = [
    (r"gpt-4o.*audio|gpt-audio", frozenset({AUDIO})),
    (r"gpt-4o.*(search|transcribe|tts|realtime)|o1-(mini|preview)|o3-mini|gpt-oss|gpt-3", frozenset()),
    (r"gpt-4o|gpt-4\.[1-9]|gpt-[5-9]|chatgpt-|o[1-9]\b|computer-use", frozenset({IMAGE, PDF})),
    (r"gpt-4-(turbo|vision|1106-vision)", frozenset({IMAGE})),
    (r"claude-(2|instant)", frozenset()),
    (r"claude-", frozenset({IMAGE, PDF})),
    (r"gemini-.*(embedding|tts)|gemini-pro$|gemini-1\.0", frozenset()),
    (r"gemini-", frozenset({IMAGE, PDF, AUDIO})),
    (r"gemma-?3-?(270m|1b)|gemma-?3:(270m|1b)", frozenset()),
    (r"gemma-?3n|gemma-?[3-9]", frozenset({IMAGE})),
    (r"qwen[\d.]*-?omni|phi-?4-multimodal", frozenset({IMAGE, AUDIO})),
    (r"voxtral|qwen2-audio|ultravox", frozenset({AUDIO})),
    (r"pixtral|mistral-small-?(3\.[1-9]|4|25|26)|mistral-small3\.[1-9]|mistral-medium-(3|25|26)|mistral-large-(3|26)"
     r"|magistral-(small|medium)-25(09|1)|ministral-(3|.*25(12))", frozenset({IMAGE})),
    (r"llama-?3\.2.*vision|llama-?4", frozenset({IMAGE})),
    (r"grok-(4|5)|grok.*vision|nova-(2-)?(lite|pro|premier)|kimi-(k2\.[5-9]|vl)|step-[\d.]*v", frozenset({IMAGE})),
    (r"bakllava|llava|moondream|minicpm-?v|minicpm-?o|internvl|intern-s1|cogvlm|molmo|smolvlm|idefics|paligemma"
     r"|deepseek-(vl|ocr)|glm-[\d.]+v|aya-vision|aria\b|fuyu|ovis|kosmos|granite.*vision|phi-?3.*vision",
     frozenset({IMAGE})),
    (r"(.*[-_.:\d])?(vl|vlm|vision)([-_.:\d]|$)", frozenset({IMAGE})),
]  # fmt: skip
_TABLE = [(re.compile(pattern), kinds) for pattern, kinds in _NAMES]
# Servers with OpenAI's API that take PDF as `file`; others know pictures at most.
_TAKE_PDF = ("api.openai.com", "openrouter.ai", "openai.azure.com")

_learned: dict[tuple[str, str], frozenset[str]] = {}
_refused: dict[tuple[str, str], dict[str, float]] = {}  # and until when


def accepted(spec: ModelSpec, by_hand: Collection[str] | None) -> frozenset[str]:
    """Return the kinds of files that the model accepts. `by_hand`: what its agent's administrator says."""
    now, refused = time.monotonic(), _refused.get((spec.base_url, spec.model), {})
    kinds = frozenset(by_hand) if by_hand is not None else _kinds_of_model(spec)
    return ((kinds | {TEXT}) & kinds_of(spec.kind)) - {kind for kind, until in refused.items() if now < until}


def _kinds_of_model(spec: ModelSpec) -> frozenset[str]:
    learned = _learned.get((spec.base_url, spec.model))
    if learned is not None:
        return learned
    host = urlsplit(spec.base_url).hostname or ""
    kinds = of_name(spec.model)
    if spec.kind == "anthropic":
        is_official = not spec.base_url or host.endswith("anthropic.com")
        return frozenset({IMAGE, PDF}) if is_official and kinds is None else kinds or frozenset()
    kinds = kinds or frozenset()
    return kinds if host.endswith(_TAKE_PDF) else kinds - {PDF}


def of_name(model: str) -> frozenset[str] | None:
    """Return what a model of that name accepts beside text; None if the table does not know it."""
    name = model.lower().rsplit("/", 1)[-1]
    return next((kinds for pattern, kinds in _TABLE if pattern.match(name)), None)


# What servers say


def learn(base_url: str, model: str, entry: Any) -> None:
    """Keep what a server's list of models says of a model, if it does."""
    kinds = of_entry(entry)
    if kinds is not None:
        if len(_learned) >= _MOST_KEPT:
            _learned.clear()
        _learned[base_url, model] = kinds


def of_entry(entry: Any) -> frozenset[str] | None:
    """Return what an entry of a list of models says that it accepts beside text; None if it does not say."""
    if not isinstance(entry, dict):
        return None
    architecture = entry.get("architecture")
    modalities = architecture.get("input_modalities") if isinstance(architecture, dict) else None  # OpenRouter
    if modalities is None:
        modalities = entry.get("input_modalities")
    capabilities = entry.get("capabilities")
    if isinstance(modalities, list):
        return _kinds(str(each) for each in modalities)
    if isinstance(capabilities, list):  # Ollama's `/api/show`, llama.cpp
        return _kinds(str(each) for each in capabilities)
    if isinstance(capabilities, dict) and isinstance(capabilities.get("vision"), bool):  # Mistral
        return frozenset({IMAGE} if capabilities["vision"] else ())
    return None


_WORDS = {"image": IMAGE, "vision": IMAGE, "multimodal": IMAGE, "file": PDF, "pdf": PDF, "audio": AUDIO}


def _kinds(words: Iterable[str]) -> frozenset[str]:
    return frozenset(_WORDS[word] for word in words if word in _WORDS)


# What servers refuse


class FileRefused(ModelError):
    """The model's server refuses files of these kinds: ask again with their text."""

    code = "file_refused"

    def __init__(self, kinds: frozenset[str]) -> None:
        super().__init__(f"The model's server refuses files ({', '.join(sorted(kinds))}): it gets their text instead.")
        self.kinds = kinds


_NAMED = {
    IMAGE: ("image", "vision", "multimodal", "multi-modal", "picture", "media_type"),
    PDF: ("pdf", "document", "file"),
    AUDIO: ("audio",),
}
# A server that knows texts alone: it rejects the list of parts.
_SHAPE = re.compile(
    r"content\b.{0,200}\b(string|str)\b|\b(string|str)\b.{0,100}\bcontent\b|unknown variant|content.?part"
)
# Not the model, but this file.
_OF_THE_FILE = re.compile(
    r"could not process|invalid[_ ]image|image_parse|unsupported image|corrupt|download|too large|exceed|dimensions"
    r"|password|not a valid|could not be (read|decoded|loaded)|failed to (load|decode)|cannot identify"
)
_STATUSES = (400, 404, 413, 415, 422, 500, 501)


def refusal(spec: ModelSpec, model: str, kinds: frozenset[str], status: int, body: Any) -> FileRefused | None:
    """Return the refusal of files that an error of a server is, if the request had files of these `kinds`.

    If the model refuses them, and not only these files, that is remembered.
    """
    if not kinds or status not in _STATUSES:
        return None
    text = str(body)[:20_000].lower()
    named = frozenset(kind for kind in kinds if any(word in text for word in _NAMED[kind]))
    if status == 413:
        return FileRefused(kinds)
    if not named and not _SHAPE.search(text):
        return None
    refused = named or kinds
    if not _OF_THE_FILE.search(text):
        if len(_refused) >= _MOST_KEPT:
            _refused.clear()
        until = time.monotonic() + _REMEMBERED
        _refused.setdefault((spec.base_url, model), {}).update(dict.fromkeys(refused, until))
    return FileRefused(refused)

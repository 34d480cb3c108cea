"""What Anthropic's Messages API refuses, as its documentation and the SDK's types say. Pure.

Source: https://platform.claude.com/docs/en/api/messages and, for what becomes of thinking blocks,
https://platform.claude.com/docs/en/build-with-claude/preserved-thinking. Where the API would silently drop a block or
merge two messages, these rules refuse: what we send must not lean on that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any

import orjson

Block = dict[str, Any]
Body = dict[str, Any]

VERSIONS = ("2023-06-01", "2026-10-21")
_FIELDS = {
    "cache_control", "container", "max_tokens", "messages", "metadata", "model", "output_config", "service_tier",
    "stop_sequences", "stream", "system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p",
}  # fmt: skip
_OPAQUE = ("thinking", "redacted_thinking")
_KEY = b"only the server knows it"


class Refused(Exception):
    """A 400. The text says why, as the API would."""


@dataclass(frozen=True)
class Family:
    """What models of one generation take. `binds`: thoughts are bound to all that came before them."""

    thinking: tuple[str, ...]
    efforts: tuple[str, ...] = ()
    max_tokens: int = 64_000
    binds: bool = False
    is_listed: bool = True

    @property
    def samples(self) -> bool:
        return "enabled" in self.thinking

    @property
    def thinks_unasked(self) -> bool:
        return not self.samples


FAMILIES = {
    "budget": Family(("enabled", "disabled")),  # as Claude 4.5
    "both": Family(("enabled", "adaptive", "disabled"), ("low", "medium", "high", "max")),  # as Claude 4.6
    "adaptive": Family(("adaptive", "between_tools"), ("low", "medium", "high", "xhigh", "max"), 128_000, True),
    "always": Family(("adaptive",), ("low", "medium", "high", "xhigh", "max"), 128_000, True),
    "unlisted": Family(("enabled", "adaptive", "disabled"), ("low", "high"), is_listed=False),  # behind a proxy
}


def require(true: object, why: str) -> None:
    if not true:
        raise Refused(why)


def check(body: Body, family: Family, originals: dict[str, list[Block]], version: str) -> None:
    """Refuse a request that the API would refuse. `said`: earlier turns of the model, by the ids of their calls."""
    for name in body:
        require(name in _FIELDS, f"{name}: Extra inputs are not permitted")
    most = body.get("max_tokens")
    require(isinstance(most, int) and most >= 1, "max_tokens: Field required")
    require(most <= family.max_tokens, f"max_tokens: {most} > {family.max_tokens}, which is the maximum allowed")
    _check_thinking(body, family)
    _check_sampling(body, family, version)
    _check_format(body.get("output_config", {}).get("format"))
    _check_tools(body.get("tools", []))
    _check_system(body.get("system"))
    _check_messages(body["messages"])
    _check_marks(body)
    _check_thoughts(body, family, originals)


def thinks(body: Body, family: Family) -> bool:
    """Whether the model thinks when it is asked this."""
    kind = body.get("thinking", {}).get("type")
    return kind in ("enabled", "adaptive") or (kind is None and family.thinks_unasked)


def _check_thinking(body: Body, family: Family) -> None:
    effort = body.get("output_config", {}).get("effort")
    require(effort is None or effort in family.efforts, "This model does not support the effort parameter.")
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type")
    require(kind in family.thinking, f'"thinking.type.{kind}" is not supported for this model.')
    allowed = {"enabled": {"budget_tokens", "display"}, "adaptive": {"display"}}.get(kind, set())
    require(set(thinking) - {"type"} <= allowed, f"thinking.{kind}: Extra inputs are not permitted")
    require(thinking.get("display", "summarized") in ("summarized", "omitted"), "thinking.display: Input should be …")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        require(isinstance(budget, int) and budget >= 1024, "thinking.enabled.budget_tokens: at least 1024")
        require(body["max_tokens"] > budget, "`max_tokens` must be greater than `thinking.budget_tokens`.")
    if kind == "between_tools":
        require(effort not in ("xhigh", "max"), "thinking.between_tools: not at this effort")


def _check_format(form: dict[str, Any] | None) -> None:
    if form is None:
        return
    require(set(form) == {"type", "schema"} and form["type"] == "json_schema", "output_config.format: json_schema only")
    closed = form["schema"].get("additionalProperties") is False or form["schema"].get("type") != "object"
    require(closed, "output_config.format.schema: For 'object' type, 'additionalProperties' must be set to false")


def _check_sampling(body: Body, family: Family, version: str) -> None:
    present = [name for name in ("temperature", "top_p", "top_k") if name in body]
    require(not present or version == VERSIONS[0], f"{present}: not supported in API version {version}")
    require(not present or family.samples, f"`{', '.join(present)}` is not supported for this model.")
    require(not present or not thinks(body, family), "`temperature` may only be set to 1 when thinking is enabled.")
    require(len(present) < 2, "`temperature` and `top_p` cannot both be specified for this model.")
    require(0 <= body.get("temperature", 1) <= 1, "temperature: range: 0..1")


def _check_tools(tools: list[dict[str, Any]]) -> None:
    names = [tool.get("name", "") for tool in tools]
    require(len(names) == len(set(names)), "tools: Tool names must be unique.")
    for number, tool in enumerate(tools):
        require(set(tool) <= {"name", "description", "input_schema", "cache_control"}, f"tools.{number}: Extra inputs")
        require(re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool["name"]), f"tools.{number}.name: String should match …")
        schema = tool["input_schema"]
        require(schema.get("type") == "object", f"tools.{number}.input_schema.type: Field required")
        require(
            not {"oneOf", "allOf", "anyOf"} & set(schema),
            f"tools.{number}.input_schema: does not support oneOf, allOf, or anyOf at the top level",
        )


def _check_system(system: Any) -> None:
    for block in system if isinstance(system, list) else []:
        require(block["type"] == "text" and block["text"].strip(), "system: text content blocks must be non-empty")


def blocks_of(message: dict[str, Any]) -> list[Block]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _check_messages(messages: list[dict[str, Any]]) -> None:
    require(messages, "messages: at least one message is required")
    require(messages[0]["role"] == "user", "messages: first message must use the user role")
    require(messages[-1]["role"] == "user", "This model does not support assistant message prefill.")
    ids: set[str] = set()
    calls: list[str] = []
    for number, message in enumerate(messages):
        expected = "assistant" if number % 2 else "user"
        require(message["role"] == expected, f"messages.{number}: roles must alternate, found two {message['role']}")
        require(blocks_of(message), f"messages.{number}: all messages must have non-empty content")
        for block in blocks_of(message):
            _check_block(block, message["role"], f"messages.{number}")
        if message["role"] == "user":
            _check_results(blocks_of(message), calls, number)
        calls = [block["id"] for block in blocks_of(message) if block["type"] == "tool_use"]
        require(not ids & set(calls) and len(calls) == len(set(calls)), "`tool_use` ids must be unique")
        ids |= set(calls)


def _check_block(block: Block, role: str, where: str) -> None:
    kind = block["type"]
    allowed = {"user": ("text", "image", "document", "tool_result"), "assistant": ("text", "tool_use", *_OPAQUE)}[role]
    require(kind in allowed, f"{where}: {kind} is not allowed in the {role} role")
    if kind == "text":
        require(block["text"].strip(), f"{where}: text content blocks must contain non-whitespace text")
    elif kind == "tool_use":
        require(re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]), f"{where}: tool_use.id: String should match …")
        require(re.fullmatch(r"[a-zA-Z0-9_-]{1,200}", block["name"]), f"{where}: tool_use.name: String should match …")
        require(isinstance(block["input"], dict), f"{where}: tool_use.input: Input should be a valid dictionary")
    elif kind == "tool_result":
        content = block.get("content", "")
        require(content or not block.get("is_error"), f"{where}: content cannot be empty if `is_error` is true")
        for inner in content if isinstance(content, list) else []:
            is_allowed = inner["type"] == "text" or (inner["type"] in _MEDIA and not block.get("is_error"))
            require(is_allowed, f"{where}: all content must be type text if `is_error` is true")
            _check_block(inner, role, where)
    elif kind in _MEDIA:
        source = block["source"]
        require(set(source) == {"type", "media_type", "data"} and source["type"] == "base64", f"{where}: source")
        require(source["media_type"] in _MEDIA[kind], f"{where}: source.media_type: Input should be one of …")
        data = base64.b64decode(source["data"], validate=True)
        require(
            (data and len(source["data"]) <= 5 * 2**20) or kind == "document", f"{where}: image exceeds 5 MB maximum"
        )
    require(set(block) <= _BLOCK_FIELDS[kind], f"{where}: {kind}: Extra inputs are not permitted")


_MEDIA = {"image": {"image/png", "image/jpeg", "image/gif", "image/webp"}, "document": {"application/pdf"}}
_BLOCK_FIELDS = {
    "image": {"type", "source", "cache_control"},
    "document": {"type", "source", "title", "context", "citations", "cache_control"},
    "text": {"type", "text", "cache_control"},
    "tool_use": {"type", "id", "name", "input", "cache_control"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
}


def _check_results(blocks: list[Block], calls: list[str], number: int) -> None:
    kinds = [block["type"] for block in blocks]
    require(kinds == sorted(kinds, key=lambda k: k != "tool_result"), "tool_result blocks come first in a message")
    present = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    missing, foreign = set(calls) - set(present), set(present) - set(calls)
    require(not missing, f"messages.{number}: `tool_use` ids were found without `tool_result` blocks: {missing}")
    require(not foreign, f"messages.{number}: unexpected `tool_use_id` found in `tool_result` blocks: {foreign}")
    require(len(present) == len(set(present)), f"messages.{number}: each tool_use must have a single result")


def _check_marks(body: Body) -> None:
    system = body.get("system")
    blocks = [*body.get("tools", []), *(system if isinstance(system, list) else [])]
    blocks += [block for message in body["messages"] for block in blocks_of(message)]
    marks = [block["cache_control"] for block in blocks if "cache_control" in block]
    require(len(marks) <= 4, "A maximum of 4 blocks with cache_control may be provided.")
    require(all(mark == {"type": "ephemeral"} for mark in marks), "cache_control.type: Input should be 'ephemeral'")


# Thoughts


def sign(body: Body, thought: str) -> str:
    """The signature of what the model thinks when it is asked this; what it thinks in secret is wholly in there."""
    claims = orjson.dumps({"model": body["model"], "prefix": _prefix(body, len(body["messages"])), "thought": thought})
    return base64.b64encode(claims).decode() + "." + _seal(claims)


def _seal(claims: bytes) -> str:
    return hmac.new(_KEY, claims, hashlib.sha256).hexdigest()


def _prefix(body: Body, length: int) -> str:
    """All that comes before the message of that number, without marks of the cache and without thoughts."""
    messages = [
        {"role": message["role"], "content": [_plain(b) for b in blocks_of(message) if b["type"] not in _OPAQUE]}
        for message in body["messages"][:length]
    ]
    system = [_plain(block) for block in body.get("system") or []]
    tools = [_plain(tool) for tool in body.get("tools", [])]
    return hashlib.sha256(orjson.dumps([system, tools, messages], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _plain(block: Block) -> Block:
    return {name: value for name, value in block.items() if name != "cache_control"}


def _check_thoughts(body: Body, family: Family, originals: dict[str, list[Block]]) -> None:
    on = thinks(body, family)
    for number, message in enumerate(body["messages"]):
        blocks = blocks_of(message)
        thoughts = [block for block in blocks if block["type"] in _OPAQUE]
        for block in thoughts:
            require(on, f"messages.{number}: thinking blocks, but thinking is off")
            _check_signature(body, family, number, block)
        call = next((block["id"] for block in blocks if block["type"] == "tool_use"), None)
        if thoughts and call in originals:
            changed = "blocks in the latest assistant message cannot be modified"
            require([_plain(block) for block in blocks] == originals[call], f"messages.{number}: `thinking` {changed}")
    opening = _first_of_open_turn(body["messages"])
    if opening and body.get("thinking", {}).get("type") == "enabled":
        kind = blocks_of(opening)[0]["type"]
        require(kind in _OPAQUE, f"Expected `thinking` or `redacted_thinking`, but found `{kind}`.")


def _check_signature(body: Body, family: Family, number: int, block: Block) -> None:
    invalid = f"messages.{number}.content.0: Invalid `signature` in `thinking` block"
    present, _, seal = (block.get("signature") or block.get("data") or "").partition(".")
    try:
        sealed = base64.b64decode(present)
        claims = orjson.loads(sealed)
    except ValueError:
        raise Refused(invalid) from None
    require(hmac.compare_digest(_seal(sealed), seal), invalid)
    if block["type"] == "thinking" and block["thinking"]:
        require(claims["thought"] == block["thinking"], invalid)
    require(claims["model"] == body["model"], f"{invalid}. The block is another model's.")
    if family.binds:
        bound = claims["prefix"] == _prefix(body, number)
        require(bound, f"{invalid}. The block is bound to a different conversation. Remove the block.")


def _first_of_open_turn(messages: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first message of the model since a user's own words."""
    first = None
    for message in reversed(messages):
        if message["role"] == "assistant":
            first = message
        elif any(block["type"] != "tool_result" for block in blocks_of(message)):
            break
    return first

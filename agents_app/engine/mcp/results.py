"""Turn a server's result into text for the model, and attachments for people."""

import base64
import binascii
import json
from typing import Any

from agents_app.engine.spec import JSON
from agents_app.engine.toolset import Attachment, ToolResult

LARGEST_RESULT = 16 * 1024 * 1024  # bytes
_FRAME = ("isError", "_meta", "resultType", "ttlMs", "cacheScope")  # fields beside what a tool returned


def tool_result(raw: JSON, *, max_characters: int) -> ToolResult:
    """Convert a server's result. Nothing in it is trusted to have the right type.

    The model gets the first `max_characters` of the text; all of it is kept as an attachment.
    """
    if unfinished := _unfinished(raw):
        return ToolResult(_clean(unfinished)[:max_characters], is_error=True)
    parts = _parts(raw.get("content"))
    structured = raw.get("structuredContent")
    if structured is None and "content" not in raw:
        structured = {name: value for name, value in raw.items() if name not in _FRAME} or None
    as_json = "" if structured is None else json.dumps(structured, ensure_ascii=False)
    size = sum(map(_size, parts)) + len(as_json)
    if size > LARGEST_RESULT:
        return ToolResult(
            f"The tool's result has {size / 1024**2:.1f} MiB; the most is {LARGEST_RESULT // 1024**2} MiB. "
            "The call was made, and its result was discarded.",
            is_error=True,
        )
    attachments: list[Attachment] = []
    text = _clean("\n".join(_text(part, attachments) for part in parts))
    if not text:
        text = _clean(as_json) or "The tool returned nothing."
    elif as_json:
        attachments.append(Attachment("structured", "application/json", _clean(as_json).encode()))
    if len(text) > max_characters:
        attachments.append(Attachment("text", "text/plain", text.encode()))
        rest = len(text) - max_characters
        text = f"{text[:max_characters]}\n[{rest:,} more characters left out; the whole text is kept as an attachment]"
    return ToolResult(text, is_error=raw.get("isError") is True, attachments=tuple(attachments))


def retry_state(raw: JSON) -> str | None:
    """Return the state with which the server wants the same call again, without input; None if it does not."""
    if raw.get("resultType") != "input_required" or raw.get("inputRequests"):
        return None
    state = raw.get("requestState")
    return state if isinstance(state, str) else None


def _unfinished(raw: JSON) -> str:
    """Return what to say of a call that the server has not finished. It must not ask: we declare no such capability."""
    match raw.get("resultType"):
        case "input_required" if retry_state(raw) is not None:
            return "The call is not finished: the server wants it again, however often it gets it."
        case "input_required":
            requests = raw.get("inputRequests")
            questions = [_question(each) for each in requests.values()] if isinstance(requests, dict) else []
            asks = f" It asks: {'; '.join(filter(None, questions))}" if any(questions) else ""
            return f"The call is not finished: the server needs input that this client cannot give.{asks}"
        case "task":
            return f"The call is not finished: the server goes on with it as its task {raw.get('taskId')!r}."
    return ""


def _question(request: Any) -> str:
    params = request.get("params") if isinstance(request, dict) else None
    message = params.get("message") if isinstance(params, dict) else None
    return message if isinstance(message, str) else ""


def _parts(content: Any) -> list[JSON]:
    """Return the parts of a content, which may be the only part, and a part that may be plain text."""
    parts = content if isinstance(content, list) else [content]
    return [_part(part) for part in parts if part is not None]


def _part(part: Any) -> JSON:
    if isinstance(part, dict):
        return part
    return {"type": "text", "text": part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)}


def _text(part: JSON, attachments: list[Attachment]) -> str:
    """Return a part as text for the model; add what is not text to the attachments."""
    kind = part.get("type")
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind in ("image", "audio") and isinstance(part.get("data"), str):
        return _attach(str(kind), part["data"], part.get("mimeType"), "", attachments)
    resource = part.get("resource")
    if kind == "resource" and isinstance(resource, dict):
        uri = str(resource.get("uri", ""))
        if isinstance(resource.get("text"), str):
            return f"[resource {uri}]\n{resource['text']}"
        if isinstance(resource.get("blob"), str):
            return _attach("resource", resource["blob"], resource.get("mimeType"), uri, attachments)
    if kind == "resource_link":
        fields = [part.get("uri"), part.get("name"), part.get("mimeType"), part.get("description")]
        return f"[link {', '.join(str(field) for field in fields if field)}]"
    return json.dumps(part, ensure_ascii=False)


def _attach(kind: str, data: str, media_type: Any, name: str, attachments: list[Attachment]) -> str:
    media_type = media_type if isinstance(media_type, str) else "application/octet-stream"
    try:
        decoded = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return f"[{kind} {media_type}, not readable: invalid base64]"
    if not decoded:
        return f"[{kind} {media_type}, empty]"
    attachments.append(Attachment(kind, media_type, decoded, name))
    label = f"{kind} {name}" if name else kind
    return f"[{label} {media_type}, {len(decoded):,} bytes, kept as an attachment]"


def _size(part: JSON) -> int:
    """Return about how many bytes the part takes."""
    resource = part.get("resource")
    holders = [part, resource] if isinstance(resource, dict) else [part]
    size = 0
    for holder in holders:
        text, blobs = holder.get("text"), (holder.get("data"), holder.get("blob"))
        size += len(text.encode("utf-8", "replace")) if isinstance(text, str) else 0
        size += sum(len(blob) * 3 // 4 for blob in blobs if isinstance(blob, str))
    return size


def _clean(text: str) -> str:
    """Replace what no database or model takes: NUL, and halves of surrogate pairs."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()

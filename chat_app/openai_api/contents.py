"""The content of a message: its text, and the files among its parts."""

from dataclasses import dataclass, field

from agents_app.files.incoming import IncomingFile, from_base64, from_url
from agents_app.files.parts import StoredPart
from chat_app.openai_api.requests import Content, ContentPart
from chat_app.openai_api.validation import MISSING, refuse

_TEXT_PARTS = ("text", "input_text", "output_text")
_THOUGHT_PARTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text")  # left out
_UNSUPPORTED = "unsupported_value"

Draft = list[StoredPart | IncomingFile]  # parts whose files are not saved yet


@dataclass(slots=True)
class MessageContent:
    """The text of a message, and all of its parts if there are files among them."""

    text: str
    parts: Draft = field(default_factory=list)


def read(content: Content | None, path: str) -> MessageContent:
    """Return what a content says.

    Raises:
        InvalidRequest: a part is of an unknown type, or has not what its type needs.
    """
    if content is None or isinstance(content, str):
        return MessageContent(content or "")
    parts: Draft = []
    for position, part in enumerate(content):
        place = f"{path}[{position}]"
        if part.type in _FILE_PARTS:
            parts.append(_FILE_PARTS[part.type](part, place))
        elif part.type not in _THOUGHT_PARTS:
            parts.append(StoredPart(type="text", text=_text(part, place)))
    text = "\n".join(part["text"] for part in parts if not isinstance(part, IncomingFile))
    return MessageContent(text, parts if any(isinstance(part, IncomingFile) for part in parts) else [])


def _text(part: ContentPart, path: str) -> str:
    if part.type not in (*_TEXT_PARTS, "refusal"):
        refuse(path, f"is of the unknown type {part.type[:50]!r}.", _UNSUPPORTED)
    name = "refusal" if part.type == "refusal" else "text"
    text: str | None = getattr(part, name)
    if text is None:
        refuse(f"{path}.{name}", "is missing.", MISSING)
    return text


def _image(part: ContentPart, path: str) -> IncomingFile:
    """Return `image_url` of chat completions (an object), `input_image` of responses (a string or `file_id`)."""
    if part.image_url is None and part.file_id:
        return IncomingFile(f"{path}.file_id", file_id=part.file_id)
    if part.image_url is None:
        refuse(f"{path}.image_url", "is missing.", MISSING)
    if isinstance(part.image_url, str):
        return from_url(f"{path}.image_url", part.image_url, stem="image")
    return from_url(f"{path}.image_url.url", part.image_url.url, stem="image")


def _file(part: ContentPart, path: str) -> IncomingFile:
    """Return `file` of chat completions, whose fields are in an object, or `input_file` of responses."""
    if part.type == "file":
        path = f"{path}.file"
        if part.file is None:
            refuse(path, "is missing.", MISSING)
    fields = part.file if part.file is not None else part
    name = fields.filename or ""
    if fields.file_id:
        return IncomingFile(f"{path}.file_id", file_id=fields.file_id)
    if fields.file_data is not None:
        return from_base64(f"{path}.file_data", fields.file_data, stem="file", name=name)
    if fields.file_url is None:
        refuse(path, "must have a 'file_id' or 'file_data'.", MISSING)
    return from_url(f"{path}.file_url", fields.file_url, stem="file", name=name)


def _audio(part: ContentPart, path: str) -> IncomingFile:
    if part.input_audio is None:
        refuse(f"{path}.input_audio", "is missing.", MISSING)
    kind = {"mp3": "audio/mpeg", "wav": "audio/x-wav"}.get(part.input_audio.format or "", "")
    return from_base64(f"{path}.input_audio.data", part.input_audio.data, stem="audio", media_type=kind)


_FILE_PARTS = {
    "image_url": _image, "input_image": _image, "file": _file, "input_file": _file, "input_audio": _audio
}  # fmt: skip

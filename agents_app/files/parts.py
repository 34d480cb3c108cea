"""The parts of a message: texts, and files that the sender may read."""

from typing import Any, TypedDict

from agents_app.engine.spec import FilePart
from agents_app.exceptions import InvalidRequest
from agents_app.models import File

MOST_PARTS = 100


class StoredPart(TypedDict, total=False):
    """A part as rows and frames hold it: `text`, or the fields of a file."""

    type: str
    text: str
    file_id: str
    media_type: str
    name: str
    size: int


def checked(user: Any, parts: Any, *, message: str = "", param: str = "parts") -> list[StoredPart] | None:
    """Return the parts of a message of `user`, with what is known of the files; None if there are no files in it.

    `message`: the text before the parts, if there is one.

    Raises:
        InvalidRequest: a part is invalid, or a file is not there, not the user's or expired. Names the field.
    """
    if not isinstance(parts, list):
        raise InvalidRequest(f"'{param}' must be a list.", param=param)
    if len(parts) > MOST_PARTS:
        raise InvalidRequest(f"'{param}' has more than {MOST_PARTS} parts.", param=param)
    result = [StoredPart(type="text", text=message)] if message else []
    files = _files(user, parts)
    for index, part in enumerate(parts):
        result.append(_checked(part, files, f"{param}.{index}"))
    return result if files else None


def _files(user: Any, parts: list[Any]) -> dict[str, File]:
    ids = {part["file_id"] for part in parts if isinstance(part, dict) and isinstance(part.get("file_id"), str)}
    named = File.objects.visible_to(user).kept().filter(pk__in=[pk for pk in ids if "\x00" not in pk])
    return {file.pk: file for file in named}


def _checked(part: Any, files: dict[str, File], path: str) -> StoredPart:
    if not isinstance(part, dict) or part.get("type") not in ("text", "file"):
        raise InvalidRequest(f"'{path}' must be an object whose 'type' is 'text' or 'file'.", param=path)
    if part["type"] == "text":
        text = part.get("text")
        if not isinstance(text, str) or "\x00" in text:
            raise InvalidRequest(f"'{path}.text' must be a string without NUL characters.", param=f"{path}.text")
        return StoredPart(type="text", text=text)
    if not isinstance(part.get("file_id"), str):
        raise InvalidRequest(f"'{path}.file_id' must be a string.", param=f"{path}.file_id")
    file = files.get(part["file_id"])
    if file is None:
        raise InvalidRequest(
            f"'{path}.file_id' names no file of yours: upload it first, to /v1/files.", param=f"{path}.file_id"
        )
    return describe(file)


def describe(file: File) -> StoredPart:
    """Return a file as a part."""
    return StoredPart(type="file", file_id=file.pk, media_type=file.media_type, name=file.name, size=file.size)


def text_of(parts: list[StoredPart]) -> str:
    """Return the texts of a message."""
    return "\n".join(part["text"] for part in parts if part["type"] == "text" and part["text"])


def to_engine(parts: list[StoredPart] | None) -> tuple[str | FilePart, ...]:
    """Return stored parts as the engine reads them."""
    return tuple(
        part["text"]
        if part["type"] == "text"
        else FilePart(part["file_id"], part["media_type"], part["name"], part["size"])
        for part in parts or ()
    )

"""The parts of a message: texts, and files that the sender may read."""

from collections.abc import Iterable
from typing import Any, TypedDict

from agents_app.engine.spec import FilePart
from agents_app.exceptions import InvalidRequest
from agents_app.models import File

MOST_PARTS = 100
_LONGEST_TITLE = 80


class StoredPart(TypedDict, total=False):
    """A part as rows and frames hold it: `text`, or the fields of a file."""

    type: str
    text: str
    file_id: str
    media_type: str
    name: str
    size: int


def of_message(user: Any, message: str, parts: Any, *, param: str = "parts") -> tuple[str, list[StoredPart] | None]:
    """Return the text of a message of `user`, and its parts if it has files.

    `message`: the text before the parts, if there is one. `parts`: as a client sent them; None if it sent none.

    Raises:
        InvalidRequest: as of `checked`.
    """
    if parts is None:
        return message, None
    return joined(message, checked(user, parts, param=param))


def joined(message: str, parts: list[StoredPart]) -> tuple[str, list[StoredPart] | None]:
    """Return the text of a message and of its parts, and all of its parts if there are files among them."""
    whole = [StoredPart(type="text", text=message)] if message else []
    whole += parts
    return text_of(whole), whole if has_files(parts) else None


def checked(user: Any, parts: Any, *, param: str = "parts") -> list[StoredPart]:
    """Return the parts that a client sent, with what is known of the files.

    Raises:
        InvalidRequest: a part is invalid, or a file is not there, not the user's or expired. Names the field.
    """
    if not isinstance(parts, list):
        raise InvalidRequest(f"'{param}' must be a list.", param=param)
    if len(parts) > MOST_PARTS:
        raise InvalidRequest(f"'{param}' has more than {MOST_PARTS} parts.", param=param)
    files = readable(user, (part.get("file_id") for part in parts if isinstance(part, dict)))
    return [_checked(part, files, f"{param}.{index}") for index, part in enumerate(parts)]


def readable(user: Any, ids: Iterable[Any]) -> dict[str, File]:
    """Return those of these files that the user may read, by id."""
    possible = {pk for pk in ids if isinstance(pk, str) and "\x00" not in pk}
    if not possible:
        return {}
    return {file.pk: file for file in File.objects.visible_to(user).kept().filter(pk__in=possible)}


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
        raise unknown_file(f"{path}.file_id")
    return describe(file)


def unknown_file(path: str) -> InvalidRequest:
    """Return the error about a file that is not there, not the user's or expired: from outside these look the same."""
    return InvalidRequest(f"'{path}' names no file of yours: upload it first, to /v1/files.", param=path)


def describe(file: File) -> StoredPart:
    """Return a file as a part."""
    return StoredPart(type="file", file_id=file.pk, media_type=file.media_type, name=file.name, size=file.size)


def has_files(parts: Iterable[StoredPart]) -> bool:
    return any(part["type"] == "file" for part in parts)


def are_same(first: list[StoredPart] | None, second: list[StoredPart] | None) -> bool:
    """Whether two messages have the same texts, and files of the same bytes."""
    if first == second or not first or not second:
        return first == second
    ids = {part["file_id"] for part in [*first, *second] if part["type"] == "file"}
    stored = dict(File.objects.filter(pk__in=ids).values_list("pk", "stored_id"))

    def content(part: StoredPart) -> Any:
        return part["text"] if part["type"] == "text" else (part["name"], stored.get(part["file_id"], part["file_id"]))

    return [content(part) for part in first] == [content(part) for part in second]


def text_of(parts: Iterable[StoredPart]) -> str:
    """Return the texts of a message."""
    return "\n".join(part["text"] for part in parts if part["type"] == "text" and part["text"])


def title_of(text: str, parts: Iterable[StoredPart] | None) -> str:
    """Return what a message is called in lists: the beginning of its text, else the name of its first file."""
    names = (part["name"] or part["media_type"] for part in parts or () if part["type"] == "file")
    return " ".join((text if text.strip() else next(names, "")).split())[:_LONGEST_TITLE]


def to_engine(parts: Iterable[StoredPart] | None) -> tuple[str | FilePart, ...]:
    """Return stored parts as the engine reads them, without empty texts, which models' servers refuse."""
    return tuple(
        part["text"]
        if part["type"] == "text"
        else FilePart(part["file_id"], part["media_type"], part["name"], part["size"])
        for part in parts or ()
        if part["type"] == "file" or part["text"].strip()
    )

"""Files that come inside a request, as base64 or as the address of one, or that it names by their id."""

import binascii
import contextlib
import mimetypes
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from agents_app.exceptions import AgentError, InvalidRequest
from agents_app.files import saving
from agents_app.files.parts import StoredPart, describe, readable, unknown_file
from agents_app.models import File

MOST_FILES = 100  # of one request
_PIECE = 256 * 1024  # characters of base64 that are decoded at a time, so that other threads come in between
_DATA_URL = re.compile(r"data:([\w.+/-]{0,100})(?:;[\w.+=-]{1,100}){0,5};base64,", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """One of `file_id`, `url` and `data`, base64 that begins at `start`. `path`: the field that it came in."""

    path: str
    file_id: str = ""
    url: str = ""
    data: str = ""
    start: int = 0
    name: str = ""


def from_url(path: str, url: str, *, stem: str, name: str = "") -> IncomingFile:
    """Return the file of a data: URL or an address. `stem`: of its name, if it has none.

    Raises:
        InvalidRequest: it is neither.
    """
    if url[:8].lower().startswith(("https://", "http://")):
        return IncomingFile(path, url=url, name=name)
    match = _DATA_URL.match(url)
    if match is None:
        text = f"'{path}' must be an https: URL, or a data: URL in base64 (data:image/png;base64,…)."
        raise InvalidRequest(text, param=path)
    return IncomingFile(path, data=url, start=match.end(), name=name or _name(stem, match[1]))


def from_base64(path: str, data: str, *, stem: str, media_type: str = "", name: str = "") -> IncomingFile:
    """Return the file of base64, or of a data: URL."""
    if data[:5].lower() == "data:":
        return from_url(path, data, stem=stem, name=name)
    return IncomingFile(path, data=data, name=name or _name(stem, media_type))


def _name(stem: str, media_type: str) -> str:
    return stem + (mimetypes.guess_extension(media_type) or "")


@contextlib.contextmanager
def saved(
    user: Any, files: Iterable[IncomingFile], fetched: Mapping[str, IO[bytes]], *, expires_at: datetime | None
) -> Iterator["Saved"]:
    """Save what the request brings, for as long as nothing fails, and find what it names.

    `fetched`: what is at the addresses, by the paths of the fields.

    Raises:
        InvalidRequest: a file is invalid, too large, or not the user's. Names the field.
        StorageUnavailable: nothing is kept.
    """
    files = list(files)
    if len(files) > MOST_FILES:
        raise InvalidRequest(f"The request has more than {MOST_FILES} files.", param=files[MOST_FILES].path)
    result = Saved({}, [])
    named = readable(user, (file.file_id for file in files))
    try:
        for file in files:
            if file.file_id:
                if file.file_id not in named:
                    raise unknown_file(file.path)
                result.parts[file.path] = describe(named[file.file_id])
            else:
                result.add(file.path, _save(user, file, fetched, expires_at))
        yield result
    except BaseException:
        result.delete_unused(used=())
        raise


@dataclass(frozen=True, slots=True)
class Saved:
    """The files of a request as parts, by the paths of their fields; `new` were saved for it."""

    parts: dict[str, StoredPart]
    new: list[File]

    def add(self, path: str, file: File) -> None:
        self.parts[path] = describe(file)
        self.new.append(file)

    def delete_unused(self, used: Iterable[StoredPart]) -> None:
        """Delete those that were saved for nothing: the request repeats an earlier one, or failed."""
        ids = {part.get("file_id") for part in used}
        for file in self.new:
            if file.pk not in ids:
                with contextlib.suppress(AgentError, OSError):
                    saving.delete(file)


def _save(user: Any, file: IncomingFile, fetched: Mapping[str, IO[bytes]], expires_at: datetime | None) -> File:
    pieces = _read(fetched[file.path]) if file.url else _decode(file)
    try:
        return saving.save(user.pk, pieces, name=file.name, expires_at=expires_at)
    except InvalidRequest as error:  # it speaks of the field of an upload
        text = str(error).replace("'file'", f"'{file.path}'", 1)
        raise InvalidRequest(text, param=file.path, code=error.code) from None


def _read(source: IO[bytes]) -> Iterator[bytes]:
    yield from iter(lambda: source.read(_PIECE), b"")


def _decode(file: IncomingFile) -> Iterator[bytes]:
    data, path = file.data, file.path
    padding = data.find("=", file.start)
    try:
        if 0 <= padding < len(data) - 2:
            raise ValueError
        for start in range(file.start, len(data), _PIECE):
            yield binascii.a2b_base64(data[start : start + _PIECE], strict_mode=True)
    except ValueError:
        raise InvalidRequest(f"'{path}' is not valid base64, which has no spaces or line breaks.", param=path) from None

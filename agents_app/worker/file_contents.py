"""What a file says to a model: its encoded bytes, or its text. Each is made once and kept, for all runs."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO

from agents_app.database.errors import storage_errors
from agents_app.database.threads import DatabaseThreads
from agents_app.engine.context_window import image_characters, page_characters
from agents_app.engine.providers import file_parts
from agents_app.engine.providers.file_parts import AUDIO, IMAGE, PDF, LeastRecentlyUsed, RenderedFile
from agents_app.files import extraction
from agents_app.files.extraction import Result
from agents_app.files.media_types import is_text
from agents_app.files.storage import open_bytes, open_file
from agents_app.models import File

MOST_CHARACTERS = 200_000  # of one file's text
CANNOT_READ = "this model cannot read it"
_MOST_PAGES = 100  # of a PDF that a model gets as it is: the limit of OpenAI and Anthropic
_AUDIO_BYTES_PER_CHARACTER = 400
# The longest edge and the most bytes of a picture. Larger ones would be scaled by the providers, if not rejected;
# Anthropic's limit of 5 MiB holds for the base64.
_PICTURES = {"anthropic": (1568, 3_900_000), "openai": (2048, 5 * 2**20)}

threads = DatabaseThreads("model-files", 2)
_results = LeastRecentlyUsed(16 * 2**20)  # of children


class Unreadable(Exception):
    """A model cannot get the file. The text says why, for the model."""


async def native(row: File, kind: str, api: str) -> RenderedFile | None:
    """Return the file as a model with that API gets it as it is; None if it can get only its text.

    Raises:
        Unreadable: it is broken, encrypted or too large.
        OSError: its bytes are not there.
    """
    key = (row.stored.sha256, api, kind, row.name if kind == PDF else "")
    rendered: RenderedFile | None = file_parts.kept.get(key)
    if rendered is None:
        rendered = await _NATIVE[kind](row, api)
        if rendered is not None:
            file_parts.kept.add(key, rendered, len(rendered.json))
    return rendered


async def _image(row: File, api: str) -> RenderedFile:
    edge, most = _PICTURES[api]
    read = functools.partial(extraction.picture, longest_edge=edge, most_bytes=most)
    result = await _result((row.stored.sha256, api), row, read)
    media_type = result.fields["media_type"]
    return await _encoded(row, api, IMAGE, image_characters(), media_type=media_type, data=result.data)


async def _pdf(row: File, api: str) -> RenderedFile | None:
    result = await _result((row.stored.sha256, "pages"), row, extraction.pages)
    count = result.fields["pages"]
    return await _encoded(row, api, PDF, page_characters(count)) if count <= _MOST_PAGES else None


async def _audio(row: File, api: str) -> RenderedFile:
    return await _encoded(row, api, AUDIO, row.size // _AUDIO_BYTES_PER_CHARACTER)


_NATIVE: dict[str, Callable[[File, str], Awaitable[RenderedFile | None]]] = {IMAGE: _image, PDF: _pdf, AUDIO: _audio}


async def _encoded(
    row: File, api: str, kind: str, characters: int, *, media_type: str = "", data: bytes = b""
) -> RenderedFile:
    data = data or await threads.run(_read, row.stored.key, row.size)
    json = await asyncio.to_thread(file_parts.encode, api, kind, media_type or row.media_type, row.name, data)
    return RenderedFile(kind, characters, json=json)


async def text(row: File) -> tuple[str, str]:
    """Return the beginning of the file's text, and what of it is left out, in words.

    Raises:
        Unreadable: it has none, or it is broken or encrypted.
        OSError: its bytes are not there.
    """
    if row.media_type in extraction.READABLE:
        read = functools.partial(extraction.text, media_type=row.media_type, most_characters=MOST_CHARACTERS)
        result = await _result((row.stored.sha256, row.media_type), row, read)
    elif is_text(row.media_type):
        result = await _result((row.stored.sha256, "plain"), row, _plain)
    else:
        raise Unreadable(CANNOT_READ)
    return result.data.decode("utf-8", "replace"), result.fields.get("left_out", "")


async def _plain(source: IO[bytes]) -> Result:
    """Read a file whose bytes are its text: no child is needed to decode it."""
    data = await threads.run(source.read, MOST_CHARACTERS + 1)
    left_out = {"left_out": "the rest"} if len(data) > MOST_CHARACTERS else {}
    return Result(fields=left_out, data=data[:MOST_CHARACTERS])


async def _result(key: tuple[str, str], row: File, read: Callable[[IO[bytes]], Awaitable[Result]]) -> Result:
    """Return what `read` finds out of the file.

    Raises:
        Unreadable: it cannot be read.
    """
    result: Result | None = _results.get(key)
    if result is None:
        async with _source(row) as source:
            result = await read(source)
        is_scaled = bool(result.data) and "media_type" in result.fields  # kept as it is encoded
        if result.is_final and not is_scaled:
            _results.add(key, result, len(result.data) + 500)
    if result.problem:
        raise Unreadable(result.problem)
    return result


@contextlib.asynccontextmanager
async def _source(row: File) -> AsyncIterator[IO[bytes]]:
    source = await threads.run(_open, row.stored.key)
    try:
        yield source
    finally:
        source.close()


def _open(key: str) -> IO[bytes]:
    with storage_errors():
        return open_file(key)


def _read(key: str, size: int) -> bytes:
    with storage_errors(), open_bytes(key) as source:
        return source.read(size)

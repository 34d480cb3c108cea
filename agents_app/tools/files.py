"""`give_file` makes a file for the user; `read_file` reads a long text part by part."""

import codecs
from collections.abc import Iterable
from typing import Any

from agents_app.database.threads import DatabaseThreads
from agents_app.engine.toolset import Attachment, Call, Tool, ToolError, ToolResult
from agents_app.files import extraction
from agents_app.files.media_types import clean_name, is_text
from agents_app.files.storage import CHUNK, open_bytes, open_file
from agents_app.models import File, Run

MOST_BYTES = 1024**2  # of a file that an agent makes
_FEW_CHARACTERS, _MOST_CHARACTERS = 10_000, 50_000  # of a file that one call reads
_LARGEST_OFFSET = 2**40
_MOST_EXTRACTED = 2_000_000  # characters of a document's text
_database = DatabaseThreads("file-tools", 1)


def make_tools(names: Iterable[str], run: Run) -> list[Tool]:
    """Return those of the two tools that are among the names, for one run."""
    makers = {"give_file": lambda: _give_file(), "read_file": lambda: _read_file(run.session.owner_id)}
    return [makers[name]() for name in dict.fromkeys(names) if name in makers]


def _give_file() -> Tool:
    async def give(arguments: dict[str, Any], _call: Call) -> ToolResult:
        name = clean_name(arguments["name"])
        data = arguments["content"].encode("utf-8", "replace")
        if not name:
            raise ToolError("'name' must be a file name, for example 'report.md'.")
        if not data:
            raise ToolError("'content' is empty.")
        if len(data) > MOST_BYTES:
            raise ToolError(f"'content' has {len(data):,} bytes; the most is {MOST_BYTES:,}. Make several files.")
        attachment = Attachment(File.Kind.GIVEN.value, "text/plain", data, name)
        return ToolResult("The user can download the file.", attachments=(attachment,))

    return Tool(
        name="give_file",
        description="Give the user a file to download, made of text: a report, a table as CSV, source code.",
        parameters={
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "File name with its extension, for example report.md."},
                "content": {"type": "string", "description": "The whole text of the file."},
                "media_type": {"type": "string", "description": "For example text/csv. Default: by name and content."},
            },
            "required": ["name", "content"],
        },
        call=give,
        idempotent=True,  # the file begins to be with the step that ends the call
    )


def _read_file(owner_id: int | None) -> Tool:
    async def read(arguments: dict[str, Any], _call: Call) -> str:
        limit = min(arguments.get("limit", _FEW_CHARACTERS), _MOST_CHARACTERS)
        offset = arguments.get("offset", 0)
        file = await _database.run(_find, owner_id, arguments["file_id"])
        try:
            if is_text(file.media_type):
                text, has_more = await _database.run(_part, file.stored.key, offset, limit)
            else:
                text, has_more = await _extracted_part(file, offset, limit)
        except FileNotFoundError:
            raise ToolError("The content of the file is missing on the server.") from None
        if not text:
            return f"[There is nothing at offset {offset:,}: the file ends before.]"
        return f"{text}\n[more at offset {offset + len(text)}]" if has_more else f"{text}\n[end of the file]"

    return Tool(
        name="read_file",
        description="Read the text of a file of this conversation's user, part by part: text, PDF, Office documents.",
        parameters={
            "type": "object",
            "properties": {
                "file_id": {"type": "string", "description": "As file-…."},
                "offset": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": _LARGEST_OFFSET,
                    "description": "Characters to skip. Default: 0.",
                },
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": _MOST_CHARACTERS,
                    "description": f"Characters to read. Default: {_FEW_CHARACTERS}.",
                },
            },
            "required": ["file_id"],
        },
        call=read,
        read_only=True,
    )


def _find(owner_id: int | None, file_id: str) -> File:
    """Return the file of that owner.

    Raises:
        ToolError: there is none, or it has no text.
    """
    files = File.objects.filter(owner=owner_id, pk=file_id.replace("\x00", "")).kept()
    file = files.select_related("stored").first()
    if file is None:
        raise ToolError(f"There is no file {file_id[:100]!r}: it may be deleted or expired.")
    if not is_text(file.media_type) and file.media_type not in extraction.READABLE:
        raise ToolError(f"The file is {file.media_type}, which this tool cannot read as text.")
    return file


async def _extracted_part(file: File, offset: int, limit: int) -> tuple[str, bool]:
    """Return as `_part` does, of the text of a document.

    Raises:
        ToolError: it is broken or encrypted.
    """
    most = min(offset + limit + 1, _MOST_EXTRACTED)
    with await _database.run(open_file, file.stored.key) as source:
        result = await extraction.text(source, file.media_type, most_characters=most)
    if result.problem:
        raise ToolError(f"The file cannot be read: {result.problem}")
    text = result.data.decode("utf-8", "replace")
    return text[offset : offset + limit], len(text) > offset + limit


def _part(key: str, offset: int, limit: int) -> tuple[str, bool]:
    """Return `limit` characters from `offset`, and whether more follow. Reads no further than that."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    skipped, part = 0, ""
    with open_bytes(key) as source:
        while len(part) <= limit and (data := source.read(CHUNK)):
            text = decoder.decode(data)
            start = min(len(text), offset - skipped)
            skipped += start
            part += text[start:]
    return part[:limit], len(part) > limit

"""Give models the files of a conversation: as they are if the model accepts them, else their text, else a note."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents_app.access import rights
from agents_app.database.errors import storage_errors
from agents_app.engine.providers import accepts, file_parts
from agents_app.engine.providers.file_parts import IMAGE, TEXT, RenderedFile, note
from agents_app.engine.spec import FilePart, Message, ModelSpec
from agents_app.models import File
from agents_app.worker import file_contents, file_room
from agents_app.worker.file_contents import MOST_CHARACTERS, Unreadable

MOST_BYTES = 20 * 2**20  # of files in one request
_SHARE_OF_TEXT = 0.5  # of the window, for the texts of all files
_CHARACTERS_PER_TOKEN = 3
_LEAST_CHARACTERS = 200  # of a text, to be worth a beginning
_DELETED = "it was deleted or has expired"
_MISSING = "its bytes cannot be read"
_NO_ROOM = "left out, because the newer files take all the room"


@dataclass(slots=True)
class _Room:
    """What is left in a request: bytes of files, and characters of the texts of files."""

    size: int
    characters: int


class RunFiles:
    """Renders files for the model of one run: see `Files`. `by_hand`: what it accepts, if an administrator says so.

    `owner_id`: the owner of the run's session, whose rights count as they are at each request.
    """

    def __init__(self, model: ModelSpec, by_hand: Collection[str] | None, owner_id: int | None) -> None:
        self._owner_id = owner_id
        self._model = model
        self._by_hand = by_hand
        self._rendered: dict[str, RenderedFile] = {}
        self._taken = 0  # of the room that all runs share

    async def render(
        self, messages: Sequence[Message], refused: Collection[str], share: float
    ) -> Mapping[str, RenderedFile]:
        """Return how the model gets the files of these messages: the newest first, as long as there is room."""
        self.release()
        parts = _newest_first(messages)
        accepted = accepts.accepted(self._model, self._by_hand) - frozenset(refused)
        rows = await file_contents.threads.run(_rows, list(parts), self._owner_id)
        characters = self._model.context_tokens * _CHARACTERS_PER_TOKEN * _SHARE_OF_TEXT
        room = _Room(int(MOST_BYTES * share), int(characters * share))
        self._taken = await file_room.room().take(_most_encoded(rows.values(), accepted))
        try:
            for pk, part in parts.items():
                self._rendered[pk] = await self._render(part, rows.get(pk), accepted, room)
        except BaseException:
            self.release()
            raise
        self._keep(sum(len(file.json) for file in self._rendered.values()))
        return self._rendered

    def release(self) -> None:
        """Forget the bytes of the files that were rendered last: the request is sent, or has failed."""
        for pk, file in self._rendered.items():
            self._rendered[pk] = dataclasses.replace(file, json=b"")
        self._rendered = {}
        self._keep(0)

    def _keep(self, size: int) -> None:
        """Keep at most so much of the shared room."""
        if self._taken > size:
            unused, self._taken = self._taken - size, size
            file_room.room().give(unused)

    async def _render(self, part: FilePart, row: File | None, accepted: Collection[str], room: _Room) -> RenderedFile:
        if row is None:
            return note(part, _DELETED)
        kind = file_parts.native_kind(row.media_type)
        try:
            if kind != TEXT and kind in accepted:
                return await self._native(part, row, kind, room)
            return await _in_words(part, row, room)
        except Unreadable as problem:
            return note(part, str(problem))
        except OSError:
            return note(part, _MISSING)

    async def _native(self, part: FilePart, row: File, kind: str, room: _Room) -> RenderedFile:
        if room.size <= 0 or (kind != IMAGE and row.size > room.size):
            return note(part, _NO_ROOM)
        file = await file_contents.native(row, kind, self._model.kind)
        if file is None:
            return await _in_words(part, row, room)
        if file.size > room.size:
            room.size = 0  # else each older picture would be scaled, only to find that there is no room for it
            return note(part, _NO_ROOM)
        room.size -= file.size
        return file


def _most_encoded(rows: Iterable[File], accepted: Collection[str]) -> int:
    """Return the most bytes that the files take in a request as base64."""
    kinds = frozenset(accepted) - {TEXT}
    size = sum(row.size for row in rows if file_parts.native_kind(row.media_type) in kinds)
    return min(size, MOST_BYTES) * 4 // 3


def _newest_first(messages: Sequence[Message]) -> dict[str, FilePart]:
    parts = (part for message in reversed(messages) for part in reversed(message.parts))
    files: dict[str, FilePart] = {}
    for part in parts:
        if isinstance(part, FilePart):
            files.setdefault(part.file_id, part)
    return files


def _rows(ids: list[str], owner_id: int | None) -> dict[str, File]:
    """Return the files that the owner may read now. The history of a former administrator can name others'."""
    with storage_errors():
        rows = list(File.objects.kept().filter(pk__in=ids).select_related("stored"))
        if any(row.owner_id != owner_id for row in rows) and not rights.is_administrator(owner_id):
            rows = [row for row in rows if row.owner_id == owner_id]
        return {row.pk: row for row in rows}


async def _in_words(part: FilePart, row: File, room: _Room) -> RenderedFile:
    if room.characters < min(row.size, _LEAST_CHARACTERS):
        return note(part, _NO_ROOM)
    text, left_out = await file_contents.text(row)
    most = min(MOST_CHARACTERS, room.characters)
    if len(text) > most:
        text, left_out = text[:most], "the rest"
    room.characters -= len(text)
    end = f"[{left_out} left out]\n" if left_out else ""
    whole = f"[file {file_parts.label(part)}]\n{text.rstrip()}\n{end}[end of the file]"
    return RenderedFile(TEXT, len(whole), whole)

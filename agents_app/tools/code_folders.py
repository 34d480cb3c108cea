"""The folders that code runs in: one for each session, with the files of its chat under their names."""

import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from django.conf import settings
from django.db.models import Q

from agents_app.files.media_types import clean_name
from agents_app.files.storage import CHUNK, open_bytes
from agents_app.maintenance.working_folders import CODE, remove
from agents_app.models import File, Run

MOST_BYTES = 256 * 1024**2  # of one folder
MOST_ENTRIES = 2000
MOST_NEW = 10  # files that one call gives to the chat
LARGEST_NEW = 20 * 1024**2  # bytes

Snapshot = dict[str, tuple[int, int]]  # size and time of change, by path in the folder


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that code made or changed. `data` is None if it is too large for the chat."""

    name: str
    size: int
    data: bytes | None


class CodeFolder:
    """The folder of one session. Its own records are beside what the code sees."""

    def __init__(self, session_id: str) -> None:
        self.base = Path(settings.VAR_DIR) / CODE / session_id
        self.path = self.base / "files"

    def prepare(self, owner_id: int | None, session_id: str) -> Snapshot:
        """Put the files of the chat that are not there yet into the folder. Returns what is in it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(self.base)
        self.path.chmod(0o700)
        placed = self._placed()
        there = {(PurePath(path).name, size) for path, (size, _) in self.snapshot().items()}
        for file in _files_of_chat(owner_id, session_id):
            if file.pk not in placed and (file.name, file.size) in there:  # what code made became a file of the chat
                placed[file.pk] = file.name
            elif file.pk not in placed:
                placed[file.pk] = name = _free_name(_name(file), self.path)
                with contextlib.suppress(FileNotFoundError):  # its bytes are gone: the code finds no file
                    _copy(file, self.path / name, part=self.base / "copy.part")
        (self.base / "placed.json").write_text(json.dumps(placed))
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        return {path: (status.st_size, status.st_mtime_ns) for path, status in _walk(self.path)}

    def is_too_large(self) -> bool:
        """Whether the folder has more than it may."""
        size = 0
        try:
            for entries, (_, status) in enumerate(_walk(self.path, strict=True)):
                size += status.st_blocks * 512
                if size > MOST_BYTES or entries >= MOST_ENTRIES:
                    return True
        except OSError:  # a folder that is closed to us, or too deep, hides what is in it
            return True
        return False

    def changes(self, before: Snapshot) -> list[NewFile]:
        """Return the files that are new or different. Hidden ones are the code's own."""
        changed = [path for path, state in self.snapshot().items() if before.get(path) != state]
        visible = sorted(path for path in changed if not any(part.startswith(".") for part in PurePath(path).parts))
        return [new for path in visible if (new := self._read(path))]

    def discard(self, before: Snapshot) -> None:
        """Delete what is new or different, because the folder became too large."""
        for path, state in self.snapshot().items():
            if before.get(path) != state:
                with contextlib.suppress(OSError):
                    (self.path / path).unlink()
        if self.is_too_large():  # folders alone, or what cannot be deleted one by one
            remove(self.base)

    def _read(self, path: str) -> NewFile | None:
        try:
            descriptor = os.open(self.path / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                return None
            data = file.read(LARGEST_NEW + 1)
        return NewFile(PurePath(path).name, status.st_size, data if len(data) <= LARGEST_NEW else None)

    def _placed(self) -> dict[str, str]:
        try:
            return dict(json.loads((self.base / "placed.json").read_text()))
        except (OSError, ValueError):
            return {}


def _files_of_chat(owner_id: int | None, session_id: str) -> list[File]:
    """Return the files of the session's messages, and those that its runs made, oldest first."""
    messages = Run.objects.filter(session=session_id, parts__isnull=False).values_list("parts", flat=True)
    sent = {part["file_id"] for parts in messages for part in parts or () if part.get("file_id")}
    files = File.objects.filter(owner=owner_id).filter(Q(pk__in=sent) | Q(run__session=session_id, kind="given"))
    return list(files.kept().select_related("stored").order_by("created_at", "pk"))


def _name(file: File) -> str:
    return clean_name(file.name).lstrip(".") or file.pk


def _free_name(name: str, folder: Path) -> str:
    path = PurePath(name)
    names = (name, *(f"{path.stem}-{number}{path.suffix}" for number in range(2, 1000)))
    return next((each for each in names if not os.path.lexists(folder / each)), name)


def _copy(file: File, target: Path, *, part: Path) -> None:
    """Copy the file. `part`: where no code can write; what a killed process left there is overwritten."""
    if file.size > MOST_BYTES // 2:
        return
    with open_bytes(file.stored.key) as source, part.open("wb") as copy:
        shutil.copyfileobj(source, copy, CHUNK)
    part.rename(target)


def _walk(folder: Path, *, strict: bool = False) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files, without following a link, and not without end.

    `strict`: yield all else too, and raise an OSError for a folder that nobody can look into.
    """
    waiting, count = [str(folder)], 0
    while waiting and count <= 2 * MOST_ENTRIES:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    if count > 2 * MOST_ENTRIES:
                        return
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if is_folder:
                        waiting.append(entry.path)
                    if strict or entry.is_file(follow_symlinks=False):
                        with contextlib.suppress(FileNotFoundError):  # it went away: the others are still there
                            yield os.path.relpath(entry.path, folder), entry.stat(follow_symlinks=False)
        except OSError as error:
            if strict and (isinstance(error, PermissionError) or error.errno == errno.ENAMETOOLONG):
                raise

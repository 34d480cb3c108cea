"""Where the bytes of files are: a folder, the database, or what FILES_URL names."""

import functools
import io
import shutil
import tempfile
from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.files.base import File as DjangoFile
from django.core.files.storage import FileSystemStorage, Storage
from django.db.models import Sum
from django.db.models.functions import Length

from agents_app.models import FileChunk

CHUNK = 256 * 1024  # bytes of a row
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600


@functools.cache
def storage() -> Storage:
    """Return the storage of this deployment."""
    if settings.FILES_URL.startswith("s3:"):
        from agents_app.files.object_storage import ObjectStorage  # its library is large, and few need it

        return ObjectStorage(settings.FILES_URL)
    if settings.FILES_URL:
        return _folder(unquote(urlsplit(settings.FILES_URL).path))
    if settings.EMBEDDED:
        return _folder(str(settings.VAR_DIR / "files"))
    return DatabaseStorage()


def _folder(path: str) -> Storage:
    return FileSystemStorage(
        location=path, file_permissions_mode=_FILE_MODE, directory_permissions_mode=_FOLDER_MODE, allow_overwrite=True
    )


class DatabaseStorage(Storage):
    """Files in rows of the database, so that a cluster needs nothing more."""

    def _save(self, name: str, content: Any) -> str:
        for position, data in enumerate(_chunks(content)):
            FileChunk.objects.create(key=name, position=position, data=data)
        return name

    def _open(self, name: str, mode: str = "rb") -> "DjangoFile[bytes]":
        if not self.exists(name):
            raise FileNotFoundError(name)
        return DjangoFile(BufferedReader(_Rows(name, self.size(name)), CHUNK), name)

    def exists(self, name: str) -> bool:
        return FileChunk.objects.filter(key=name).exists()

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def delete(self, name: str) -> None:
        FileChunk.objects.filter(key=name).delete()

    def size(self, name: str) -> int:
        return FileChunk.objects.filter(key=name).aggregate(size=Sum(Length("data")))["size"] or 0


def _chunks(content: Any) -> Iterator[bytes]:
    """Yield the content in pieces of the size of a row."""
    buffer = bytearray()
    for piece in content.chunks():
        buffer += piece
        while len(buffer) >= CHUNK:
            yield bytes(buffer[:CHUNK])
            del buffer[:CHUNK]
    yield bytes(buffer)


class _Rows(RawIOBase):
    """Reads a file from its rows, one at a time."""

    def __init__(self, key: str, size: int) -> None:
        super().__init__()
        self._key = key
        self._size = size
        self._offset = 0
        self._position, self._row = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        start = {0: 0, 1: self._offset, 2: self._size}[whence]
        self._offset = max(0, start + offset)
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: Any) -> int:
        position, start = divmod(self._offset, CHUNK)
        if self._offset >= self._size:
            return 0
        if position != self._position:
            row = FileChunk.objects.filter(key=self._key, position=position).values_list("data", flat=True).first()
            if row is None:
                raise FileNotFoundError(self._key)
            self._position, self._row = position, bytes(row)
        data = self._row[start : start + len(buffer)]
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)


def open_bytes(key: str) -> IO[bytes]:
    """Open stored bytes.

    Raises:
        FileNotFoundError: they are not in the storage.
    """
    return storage().open(key)


def open_file(key: str) -> IO[bytes]:
    """Open stored bytes as a file that a child process can read: a copy without a name if they are in none.

    Raises:
        FileNotFoundError: they are not in the storage.
    """
    source = open_bytes(key)
    try:
        source.fileno()
        return source
    except io.UnsupportedOperation:
        with source:
            return _copy(source)


def _copy(source: IO[bytes]) -> IO[bytes]:
    copy: Any = tempfile.TemporaryFile()  # noqa: SIM115 — the caller closes it
    shutil.copyfileobj(source, copy, 2**20)
    copy.seek(0)
    return copy

"""Files in a bucket of Amazon S3, or of another server that speaks its protocol."""

import contextlib
from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import obstore
from django.core.files.base import File as DjangoFile
from django.core.files.storage import Storage
from obstore.exceptions import BaseError
from obstore.store import S3Store

_PART = 8 * 1024 * 1024  # bytes of a request that writes; smaller files are written by one
_BUFFER = 1024 * 1024  # bytes of a request that reads
_DEFAULT_REGION = "us-east-1"  # servers other than Amazon's have one name of a region, and mostly this one


class ObjectStorage(Storage):
    """A bucket, or what begins with a prefix in it. Credentials are in the environment, as AWS_ACCESS_KEY_ID and so on.

    A file appears once all of its bytes are there.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        endpoint = options.get("endpoint")
        more: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
        self._store = S3Store(
            parts.netloc,
            prefix=unquote(parts.path).strip("/") or None,
            region=options.get("region", _DEFAULT_REGION),
            client_options={
                "allow_http": (endpoint or "").startswith("http:"),
                "connect_timeout": "5s",
                "timeout": "60s",
            },
            retry_config={"max_retries": 2},
            **more,
        )

    def _save(self, name: str, content: Any) -> str:
        with _as_os_errors():
            writer = obstore.open_writer(self._store, name, buffer_size=_PART, max_concurrency=1)
        try:
            for piece in content.chunks():
                with _as_os_errors():
                    writer.write(piece)
        except BaseException as error:
            with contextlib.suppress(BaseError, OSError):
                writer.__exit__(type(error), error, error.__traceback__)  # abort: no part of it stays
            raise
        with _as_os_errors():
            writer.close()
        return name

    def _open(self, name: str, mode: str = "rb") -> "DjangoFile[bytes]":
        return DjangoFile(BufferedReader(_Object(self._store, name, self.size(name)), _BUFFER), name)

    def exists(self, name: str) -> bool:
        try:
            self.size(name)
        except FileNotFoundError:
            return False
        return True

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def delete(self, name: str) -> None:
        with _as_os_errors(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def size(self, name: str) -> int:
        with _as_os_errors():
            return obstore.head(self._store, name)["size"]

    def names(self) -> Iterator[str]:
        """Yield the names of all files."""
        with _as_os_errors():
            for page in obstore.list(self._store):
                yield from (each["path"] for each in page)


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raise what the library raises as an OSError, which other storages raise."""
    try:
        yield
    except BaseError as error:
        raise OSError(str(error).partition("\n")[0][:300]) from None


class _Object(RawIOBase):
    """Reads a file by requests for ranges."""

    def __init__(self, store: S3Store, name: str, size: int) -> None:
        super().__init__()
        self._store = store
        self._name = name
        self._size = size
        self._offset = 0

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
        end = min(self._offset + len(buffer), self._size)
        if end <= self._offset:
            return 0
        with _as_os_errors():
            data = obstore.get_range(self._store, self._name, start=self._offset, end=end)
        buffer[: len(data)] = memoryview(data)
        self._offset += len(data)
        return len(data)

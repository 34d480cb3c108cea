"""Compare the storage with the rows: bytes that are missing, and bytes that no row knows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.core.files.storage import FileSystemStorage
from django.db.models import Exists, OuterRef

from agents_app.files.storage import DatabaseStorage, storage
from agents_app.models import FileChunk, StoredBytes

_ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Inventory:
    """Numbers of contents. `missing`: rows without bytes. `orphans`: bytes without a row."""

    stored: int
    missing: int
    orphans: int


def take() -> Inventory:
    """Count.

    Raises:
        OSError: the storage cannot be read.
    """
    place = storage()
    if isinstance(place, DatabaseStorage):
        return _of_database()
    if isinstance(place, FileSystemStorage):
        return _compare(_names_in(str(place.base_location)))
    names: Iterable[str] = place.names()  # type: ignore[attr-defined]  # of an ObjectStorage
    return _compare(set(names))


def complete_keys() -> Iterator[str]:
    """Yield the names in the storage of all contents that are complete."""
    return StoredBytes.objects.exclude(sha256="").values_list("key", flat=True).iterator(_ROWS_AT_ONCE)


def _names_in(folder: str) -> set[str]:
    try:
        return {path.name for path in Path(folder).iterdir()}
    except FileNotFoundError:  # before the first file
        return set()


def _compare(names: set[str]) -> Inventory:
    """Count the rows that none of these names belongs to, and the names that belong to no row."""
    count = missing = 0
    for key in complete_keys():
        count += 1
        missing += key not in names
        names.discard(key)
    # Of uploads that are in progress, too; and the rows are newer than the list of names.
    begun = StoredBytes.objects.filter(key__in=list(names)[:_ROWS_AT_ONCE]).count()
    return Inventory(count, missing, len(names) - begun)


def _of_database() -> Inventory:
    complete = StoredBytes.objects.exclude(sha256="")
    missing = complete.exclude(Exists(FileChunk.objects.filter(key=OuterRef("key"))))
    orphans = FileChunk.objects.filter(position=0).exclude(Exists(StoredBytes.objects.filter(key=OuterRef("key"))))
    return Inventory(complete.count(), missing.count(), orphans.count())

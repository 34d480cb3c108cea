"""Save files: first the bytes, then the row that makes them a file."""

import contextlib
import hashlib
import logging
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.files.base import File as DjangoFile
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from agents_app.database.errors import storage_errors
from agents_app.exceptions import FileTooLarge, InvalidRequest, StorageUnavailable
from agents_app.files.media_types import HEAD, clean_name, media_type
from agents_app.files.storage import storage
from agents_app.models import File, Run, StoredBytes

logger = logging.getLogger(__name__)

QUOTA = "file_quota_exceeded"
_TRIES = 10  # of a file whose bytes others store and delete meanwhile


class _Incoming(DjangoFile):
    """Pieces of a file on their way into the storage: counted, hashed and limited."""

    def __init__(self, pieces: Iterable[bytes], limit: int) -> None:
        super().__init__(None)
        self.head = b""
        self.count = 0
        self.digest = hashlib.sha256()
        self._pieces = pieces
        self._limit = limit

    def chunks(self, *_: Any, **__: Any) -> Iterator[bytes]:
        for piece in self._pieces:
            self.count += len(piece)
            if 0 < self._limit < self.count:
                raise too_large()
            self.digest.update(piece)
            if len(self.head) < HEAD:
                self.head += piece[: HEAD - len(self.head)]
            yield piece


def too_large() -> FileTooLarge:
    limit = f"{settings.FILES_MAX_BYTES:,}"
    return FileTooLarge(f"'file' is larger than {limit} bytes, the server's limit (FILES_MAX_BYTES).", param="file")


def save(
    owner_id: int | None,
    pieces: Iterable[bytes],
    *,
    name: str = "",
    purpose: str = "user_data",
    kind: str = File.Kind.UPLOAD,
    run: Run | None = None,
    expires_at: datetime | None = None,
    is_limited: bool = True,
) -> File:
    """Save a file of `owner_id`. `is_limited`: it counts against the limits of an upload.

    Raises:
        FileTooLarge: it is larger than FILES_MAX_BYTES, or more than FILES_BYTES_PER_USER allows.
        InvalidRequest: it is empty.
        StorageUnavailable: the storage or the database refused; nothing is kept.
    """
    incoming = _Incoming(pieces, settings.FILES_MAX_BYTES if is_limited else 0)
    stored = save_bytes(owner_id, incoming)
    file = File(
        owner_id=owner_id,
        stored=stored,
        run=run,
        kind=kind,
        media_type=media_type(incoming.head, name),
        name=clean_name(name),
        size=stored.size,
        purpose=purpose,
        expires_at=expires_at,
    )
    try:
        _add(file, is_limited=is_limited)
    except BaseException:
        with contextlib.suppress(DatabaseError, OSError):
            delete_unused(StoredBytes.objects.filter(pk=stored.pk), before=None)
        raise
    return file


def _add(file: File, *, is_limited: bool) -> None:
    with storage_errors(), transaction.atomic():
        if not StoredBytes.objects.lock_complete([file.stored_id]):  # deleted with their last file just now
            raise StorageUnavailable("The same file was deleted at this moment; nothing was saved. Try again.")
        if is_limited:
            _check_quota(file.owner_id, file.stored)
        file.save(force_insert=True)


def store(owner_id: int | None, pieces: Iterable[bytes]) -> StoredBytes:
    """Store bytes for files whose rows the caller adds within the hour: later they count as unused.

    Raises:
        InvalidRequest: they are empty.
        StorageUnavailable: nothing is kept.
    """
    return save_bytes(owner_id, _Incoming(pieces, 0))


def save_bytes(owner_id: int | None, incoming: _Incoming) -> StoredBytes:
    """Store the bytes, unless the owner has the same already.

    Raises:
        InvalidRequest: they are empty or too large.
        StorageUnavailable: nothing is kept.
    """
    with storage_errors():
        row = StoredBytes.objects.create(owner_id=owner_id, key=uuid.uuid4().hex)
    try:
        _write(row.key, incoming)
        if not incoming.count:
            raise InvalidRequest("'file' is empty.", param="file")
        return _finish(row, incoming)
    except BaseException:
        with contextlib.suppress(DatabaseError, OSError):  # else the daily pruning finds the row
            discard(row)
        raise


def _write(key: str, incoming: _Incoming) -> None:
    try:
        with storage_errors():
            storage().save(key, incoming)
    except OSError as error:
        raise StorageUnavailable("The storage of files refused the write; nothing was saved. Try again.") from error


def _finish(row: StoredBytes, incoming: _Incoming) -> StoredBytes:
    """Give the row its digest. If the owner has the same bytes already, discard these."""
    row.sha256, row.size = incoming.digest.hexdigest(), incoming.count
    same = StoredBytes.objects.filter(owner=row.owner_id, sha256=row.sha256)
    for _ in range(_TRIES):
        with storage_errors():
            if same.update(used_at=timezone.now()):
                if existing := same.first():
                    discard(row)
                    return existing
                continue  # deleted with their last file just now
            with contextlib.suppress(IntegrityError):  # another upload of the same has just ended
                with transaction.atomic():
                    row.save(update_fields=["sha256", "size"])
                return row
    raise StorageUnavailable("The same file is deleted again and again; nothing was saved. Try again.")


def discard(row: StoredBytes) -> None:
    """Delete stored bytes that no file refers to. The row goes last: without it, nobody would find the bytes again."""
    storage().delete(row.key)
    row.delete()


def _check_quota(owner_id: int | None, stored: StoredBytes) -> None:
    limit = settings.FILES_BYTES_PER_USER
    if limit <= 0 or stored.files.exists():  # bytes that are used already cost nothing more
        return
    # Uploads that arrive together take turns here, for each of them alone could have room.
    if owner_id is not None:
        get_user_model().objects.select_for_update(no_key=True).filter(pk=owner_id).first()
    used = StoredBytes.objects.filter(owner=owner_id).exclude(pk=stored.pk).filter(files__kind=File.Kind.UPLOAD)
    total = used.distinct().aggregate(total=Sum("size"))["total"] or 0
    if total + stored.size > limit:
        raise FileTooLarge(
            f"'file' does not fit: you have {total:,} of {limit:,} bytes (FILES_BYTES_PER_USER). Delete some files.",
            param="file",
            code=QUOTA,
        )


def delete(file: File) -> None:
    """Delete a file, and its bytes with the last file that refers to them."""
    with storage_errors(), transaction.atomic():
        file.delete()
    delete_unused(StoredBytes.objects.filter(pk=file.stored_id), before=None)


def delete_unused(rows: Any, *, before: datetime | None) -> int:
    """Delete those stored bytes that no file has used since `before`. Returns their number.

    Where the process dies or the storage refuses, the row stays, and the daily pruning tries again.
    """
    count = 0
    for pk in list(rows.filter(files=None).values_list("pk", flat=True)[:1000]):
        if (row := _take_unused(pk, before)) is None:
            continue
        try:
            with storage_errors():
                discard(row)
            count += 1
        except (OSError, StorageUnavailable) as error:
            logger.error("The storage of files did not delete %s: %s", row.key, error)
    return count


def _take_unused(pk: Any, before: datetime | None) -> StoredBytes | None:
    """Mark unused bytes as incomplete, so that no file begins to refer to them."""
    with storage_errors(), transaction.atomic():
        # A file that begins to refer to them meanwhile has to wait for this lock, or has set `used_at` before.
        row = StoredBytes.objects.select_for_update(skip_locked=True).filter(pk=pk).first()
        if row is None or row.files.exists() or (before is not None and row.used_at >= before):
            return None
        row.sha256 = ""
        row.save(update_fields=["sha256"])
        return row

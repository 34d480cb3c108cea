"""The storage of files."""

import uuid
from collections.abc import Iterator

from django.core.files.base import ContentFile
from django.db import DatabaseError

from agents_app.doctor.findings import Finding, broken, ok, one_line, plural, warning
from agents_app.files import inventory
from agents_app.files.storage import open_bytes, storage

_PROBE = b"probe"


def stored_files() -> Iterator[Finding]:
    """Check that the storage takes and returns bytes, and has those of every file."""
    try:
        _try_storage()
        counts = inventory.take()
    except OSError as error:
        remedy = (
            "Fix the folder's owner and space, or the bucket's name and credentials: FILES_URL in docs/settings.md."
        )
        yield broken("stored files", f"The storage does not work: {one_line(error.strerror or error)}.", remedy)
        return
    text = f"{plural(counts.stored, 'content')} of files"
    if counts.missing:
        remedy = "Restore VAR_DIR/files, or the folder or bucket of FILES_URL, from a backup: docs/data-care.md."
        yield broken("stored files", f"Of {text} {counts.missing} are missing in the storage.", remedy)
    if counts.orphans:
        remedy = "A crash or an older backup left them; they cost only space."
        yield warning("stored files", f"{plural(counts.orphans, 'content')} in the storage belong to no file.", remedy)
    if not counts.missing and not counts.orphans:
        yield ok("stored files", f"The storage works and has {text}.")


def _try_storage() -> None:
    """Write, read and delete a few bytes.

    Raises:
        OSError: one of these failed.
    """
    key = uuid.uuid4().hex
    try:
        storage().save(key, ContentFile(_PROBE))
        with open_bytes(key) as source:
            if source.read() != _PROBE:
                raise OSError("it returned other bytes than were written")
    finally:
        _discard(key)


def _discard(key: str) -> None:
    try:
        storage().delete(key)
    except (OSError, DatabaseError):
        return  # what failed before says more

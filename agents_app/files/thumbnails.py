"""Small pictures of large ones, for lists. A child process scales each once; the newest are kept in memory."""

from agents_app.engine.providers.file_parts import LeastRecentlyUsed
from agents_app.files import extraction
from agents_app.files.storage import open_file
from agents_app.models import File

LONGEST_EDGE = 480  # pixels: two for each that a page shows
SMALL = 64 * 1024  # bytes; a picture of at most so many is its own thumbnail
_MOST_BYTES = 200 * 1024
_KEPT = 16 * 2**20  # bytes
_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/avif"})

_kept = LeastRecentlyUsed(_KEPT)


def has_thumbnail(file: File) -> bool:
    """Return whether the file is a picture that a browser would show, or that can be scaled to one."""
    return file.media_type in _TYPES


def scaled(file: File) -> tuple[str, bytes] | None:
    """Return the media type and the bytes of the thumbnail of a picture; None if it is small enough as it is.

    Waits for a child process: see `extraction.picture_now`.

    Raises:
        Unreadable: it cannot be read.
        FileNotFoundError: its bytes are not in the storage.
    """
    key = file.stored.sha256
    thumbnail: tuple[str, bytes] | None = _kept.get(key)
    if thumbnail is None:
        with open_file(file.stored.key) as source:
            result = extraction.picture_now(source, longest_edge=LONGEST_EDGE, most_bytes=_MOST_BYTES)
        if result.problem:
            raise Unreadable(result.problem)
        thumbnail = result.fields["media_type"], result.data
        _kept.add(key, thumbnail, len(result.data) + 500)
    return thumbnail if thumbnail[1] else None


class Unreadable(Exception):
    """The file cannot be scaled. The text says why."""

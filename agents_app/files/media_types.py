"""Tell what a file is by its content. What its sender says counts only where the content does not contradict."""

import mimetypes
import unicodedata

HEAD = 8192  # bytes from the beginning of a file that its type is read from
UNKNOWN = "application/octet-stream"
_LONGEST_NAME = 200  # characters
_ALIASES = {
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/x-opus+ogg": "audio/ogg",
    "audio/x-flac": "audio/flac",
    "audio/mp3": "audio/mpeg",
    "image/jpg": "image/jpeg",
    "text/xml": "application/xml",
}
_OFFICE = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_TEXT_TYPES = {"application/json", "application/xml", "application/javascript", "application/x-sh", "image/svg+xml"}
# Of the rest, puremagic knows many rare types by two or three bytes.
_COMMON = ("image/", "audio/", "video/", "font/", "application/pdf", "application/gzip", "application/x-7z-compressed")
_MARKUP = {b"%pdf-": "application/pdf", b"<!doctype html": "text/html", b"<html": "text/html", b"<svg": "image/svg+xml"}
_EXTENSIONS = {".md": "text/markdown", ".yaml": "text/yaml", ".yml": "text/yaml", ".csv": "text/csv"}
# Types that a browser may show, because they cannot contain a script.
HARMLESS = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "audio/wav", "audio/ogg", "text/plain"}
)


def media_type(head: bytes, name: str) -> str:
    """Return the type of a file that begins with `head`. The name only chooses among types that this can be."""
    extension = name[name.rfind(".") :].lower() if "." in name else ""
    if _is_text(head):
        return _text_type(head, extension)
    if head.startswith(b"PK\x03\x04"):
        return _OFFICE.get(extension, "application/zip")
    return _binary_type(head)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(head) < HEAD:  # not just a character that the end of the head cuts
            return False
        text = head[: error.start].decode()
    return not any(unicodedata.category(c) == "Cc" and c not in "\t\n\r\f\x1b\b" for c in text)


def _text_type(head: bytes, extension: str) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    for mark, markup in _MARKUP.items():
        if start.startswith(mark) or (start.startswith(b"<?xml") and mark in start):
            return markup
    guess = _EXTENSIONS.get(extension) or mimetypes.guess_type(f"x{extension}")[0] or "text/plain"
    guess = _ALIASES.get(guess, guess)
    return guess if guess.startswith("text/") or guess in _TEXT_TYPES else "text/plain"


def _binary_type(head: bytes) -> str:
    import puremagic  # reads its table, which a start does not wait for

    try:
        matches = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return UNKNOWN
    best = next((match.mime_type for match in matches if match.mime_type.startswith(_COMMON)), UNKNOWN)
    return _ALIASES.get(best, best)


def is_text(media_type: str) -> bool:
    """Whether the bytes of such a file are its text."""
    return media_type.startswith("text/") or media_type in _TEXT_TYPES


def clean_name(name: str) -> str:
    """Return the name without folders, control characters and marks that change the direction of writing."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    visible = "".join(c for c in last if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp")).strip(" .")
    if len(visible) > _LONGEST_NAME:
        stem, dot, extension = visible.rpartition(".")
        kept = f".{extension}" if dot and len(extension) <= 16 else ""
        visible = (stem if kept else visible)[: _LONGEST_NAME - len(kept)] + kept
    return visible

"""Validators that several rows share: headers, addresses, patterns."""

import re
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from agents_app.network import is_metadata

CONTENT_KINDS = ("text", "image", "pdf", "audio")  # that a model may accept
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")


slug_validator = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z",
    "Use 1 to 64 letters, digits, '_', '.' or '-', starting with a letter or digit.",
)


def validate_headers(value) -> None:
    """Reject what cannot be sent as HTTP headers."""
    if not isinstance(value, dict) or not all(
        isinstance(v, str) and HEADER_NAME.fullmatch(k) and HEADER_VALUE.fullmatch(v) for k, v in value.items()
    ):
        raise ValidationError("Enter headers as an object of strings in printable ASCII without line breaks.")


def validate_base_url(value: str) -> None:
    """Reject what is not the address of an HTTP server. One-word hosts are valid: `http://ollama:11434/v1`."""
    try:
        url = urlsplit(value)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[^\x21-\x7e]", value):
        raise ValidationError("Enter an address such as https://api.openai.com/v1 or http://localhost:11434/v1.")
    if url.username is not None or url.query or url.fragment:
        raise ValidationError("Remove user, password, '?' and '#' from the address: keys have their own field.")
    if is_metadata(url.hostname or ""):
        raise ValidationError("This address serves the secrets of a cloud machine: it cannot be used here.")


_MOST_PATTERNS, _LONGEST_PATTERN = 200, 128


def validate_patterns(value) -> None:
    """Reject what is not a list of patterns for tool names."""
    if not isinstance(value, list) or not all(isinstance(p, str) and p.strip() for p in value):
        raise ValidationError('Enter a list of patterns, for example ["files__write_*"].')
    if len(value) > _MOST_PATTERNS or any(len(p) > _LONGEST_PATTERN or "\x00" in p for p in value):
        raise ValidationError(f"Enter at most {_MOST_PATTERNS} patterns of at most {_LONGEST_PATTERN} characters each.")


def validate_accepts(value) -> None:
    """Reject what is not a list of kinds of content."""
    if not isinstance(value, list) or not all(isinstance(kind, str) and kind in CONTENT_KINDS for kind in value):
        raise ValidationError(f"Enter a list of {', '.join(CONTENT_KINDS)}.")

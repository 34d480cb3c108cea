"""The token of this start, as notebook servers have: who reads what `manage.py serve` prints is the administrator."""

import functools
import hashlib
import secrets

from django.conf import settings
from django.utils.crypto import constant_time_compare

PATH = "/accounts/start/"


@functools.cache
def token() -> str:
    """Return the token, which is in the memory of this process alone, and another one after each start."""
    return secrets.token_urlsafe(32)


def is_offered() -> bool:
    """Return whether the token signs in: on a server of this machine alone."""
    return settings.OPEN_TOKEN_REQUIRED or not settings.AUTH_REQUIRED


def is_valid(text: str) -> bool:
    return is_offered() and constant_time_compare(text, token())


def fingerprint() -> str:
    """Return what a session has that the token began: it ends with this process."""
    return hashlib.sha256(token().encode()).hexdigest()


def link(address: str) -> str:
    """Return the link that signs a browser in."""
    return f"{address}{PATH}?token={token()}"

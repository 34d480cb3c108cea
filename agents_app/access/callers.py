"""Authenticate callers by token, ticket or browser session; in the open mode, as the local administrator."""

import contextlib
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string

from agents_app.exceptions import AgentError
from agents_app.models import ApiToken, Ticket
from agents_app.network import is_loopback

SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user, and the token or browser session used; neither in the open mode."""

    user: Any
    token: ApiToken | None = None
    session_key: str | None = None

    def has_access(self) -> bool:
        """Whether the user is still active, and the token or session still valid."""
        if self.token is not None:
            return ApiToken.objects.valid().filter(pk=self.token.pk).exists()
        if self.session_key is not None:
            return of_session(self.session_key) is not None
        return get_user_model().objects.filter(pk=self.user.pk, is_active=True).exists()


def of_request(request: HttpRequest) -> Caller | None:
    """Return the caller of an HTTP request; None if there is none, or the token is not valid.

    A cookie alone does nothing: other sites' pages make a browser send it. What protects an unsafe method is that
    (1) browsers send the page's origin with it, the middleware rejects foreign origins, and without an Origin the
    cookie does not count; (2) bodies are JSON only, which no form of another site can send; (3) the cookie is
    SameSite=Lax. So scripts need no CSRF token. Django's forms (sign in, the admin) keep theirs.
    """
    if not settings.AUTH_REQUIRED:
        return _local(request.META.get("REMOTE_ADDR"))
    if header := request.headers.get("Authorization"):
        return of_authorization(header)
    if request.method not in SAFE_METHODS and "Origin" not in request.headers:
        return None
    return Caller(request.user, session_key=request.session.session_key) if request.user.is_authenticated else None


def of_drf_request(request: Any) -> Caller:
    """Return the caller that DRF has authenticated."""
    token = request.auth
    return Caller(request.user, token, None if token else request.session.session_key)


def of_socket(
    *, address: str | None, authorization: str | None, ticket: str | None, session_key: str | None
) -> Caller | None:
    """Return the caller that opens a socket. `session_key`: of the cookie, if it came with an Origin of ours."""
    if not settings.AUTH_REQUIRED:
        return _local(address)
    if authorization:
        return of_authorization(authorization)
    if ticket:
        return _of_ticket(ticket)
    return of_session(session_key) if session_key else None


def of_authorization(header: str) -> Caller | None:
    """Return the owner of the token in the header `Authorization: Bearer TOKEN`."""
    scheme, _, text = header.strip().partition(" ")
    token = ApiToken.objects.of(text.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        return None
    with contextlib.suppress(DatabaseError):  # a full disk is no reason to reject a caller
        token.mark_used()
    return Caller(token.user, token)


def of_session(key: str) -> Caller | None:
    """Return the user of a browser's session. Django's `get_user` could change its key, which a socket cannot send."""
    session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")(key)
    user = get_user_model().objects.filter(pk=session.get(auth.SESSION_KEY), is_active=True).first()
    if user is None:
        return None
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    session_hash = session.get(auth.HASH_SESSION_KEY, "")
    is_valid = any(constant_time_compare(session_hash, each) for each in hashes)
    return Caller(user, session_key=key) if is_valid else None


def _of_ticket(text: str) -> Caller | None:
    ticket = Ticket.objects.redeem(text)
    return Caller(ticket.user, ticket.token) if ticket else None


def _local(address: str | None) -> Caller | None:
    """In the open mode, anybody on this machine, whatever address the server listens on."""
    return Caller(local_administrator()) if not address or is_loopback(address) else None


def local_administrator():
    """Return the first active superuser: the caller of everything in the open mode.

    Raises:
        AgentError: there is none yet.
    """
    administrators = get_user_model().objects.filter(is_superuser=True, is_active=True)
    administrator = administrators.order_by("pk").first()
    if administrator is None:
        raise AgentError(
            "There is no administrator yet: run `manage.py serve`, or `manage.py createsuperuser`.",
            code="no_administrator",
        )
    return administrator

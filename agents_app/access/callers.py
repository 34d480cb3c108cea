"""Authenticate callers by token, ticket or browser session; in the open mode, as the local administrator."""

import contextlib
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.http import HttpRequest

from agents_app.access import browser_sessions, rights, start_token
from agents_app.database.prepared import Prepared
from agents_app.exceptions import AgentError
from agents_app.models import ApiToken, Ticket
from agents_app.network import is_loopback

SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user, and the token or browser session used; neither in the open mode.

    `user` has the rights of the caller: an administrator's token of the scope `run` is an ordinary user.
    `session_hash`: the hash of the session's key, also of the session that a ticket was made in.
    """

    user: Any
    token: ApiToken | None = None
    session_hash: str | None = None

    def __post_init__(self) -> None:
        self.user.token_uid = self.token.uid if self.token else None  # which `runs.start` notes on runs, for budgets

    @property
    def is_limited(self) -> bool:
        """Whether the caller has no more rights than an ordinary user."""
        return self.token is not None and not self.token.may_manage

    def user_of_now(self) -> Any:
        """Return the user as of now, with the rights of the caller.

        Raises:
            AuthenticationExpired: the user was deactivated or deleted.
        """
        user = rights.active_user(self.user.pk)
        user.token_uid = self.user.token_uid
        return rights.as_ordinary_user(user) if self.is_limited else user


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
    if not request.user.is_authenticated:
        return None
    return Caller(request.user, session_hash=browser_sessions.hash_key(request.session.session_key))


def of_drf_request(request: Any) -> Caller:
    """Return the caller that DRF has authenticated."""
    token = request.auth
    return Caller(request.user, token, None if token else browser_sessions.hash_key(request.session.session_key))


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
    return _of_session(browser_sessions.hash_key(session_key)) if session_key else None


def of_authorization(header: str) -> Caller | None:
    """Return the owner of the token in the header `Authorization: Bearer TOKEN`; of that of this start, see there."""
    scheme, _, text = header.strip().partition(" ")
    if scheme.lower() == "bearer" and start_token.is_valid(text.strip()):
        return Caller(local_administrator())
    token = ApiToken.objects.of(text.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        return None
    with contextlib.suppress(DatabaseError):  # a full disk is no reason to reject a caller
        token.mark_used()
    return _of_token(token.user, token)


def _of_token(user: Any, token: ApiToken | None) -> Caller:
    caller = Caller(user, token)
    return Caller(rights.as_ordinary_user(user), token) if caller.is_limited else caller


def _of_session(session_hash: str) -> Caller | None:
    """Return the user of a browser's session. Django's `get_user` could change its key, which a socket cannot send."""
    user = browser_sessions.users_of([session_hash]).get(session_hash)
    return Caller(user, session_hash=session_hash) if user else None


def _of_ticket(text: str) -> Caller | None:
    """Return who asked for the ticket, if the token or the session that it was made with is still valid."""
    ticket = Ticket.objects.redeem(text)
    if ticket is None:
        return None
    if ticket.session_hash:
        return _of_session(ticket.session_hash)
    return _of_token(ticket.user, ticket.token)


def _local(address: str | None) -> Caller | None:
    """In the open mode, anybody on this machine, whatever address the server listens on."""
    return Caller(local_administrator()) if not address or is_loopback(address) else None


_ADMINISTRATOR = Prepared(lambda: get_user_model().objects.filter(is_superuser=True, is_active=True).order_by("pk")[:1])


def local_administrator():
    """Return the first active superuser: the caller of everything in the open mode.

    Raises:
        AgentError: there is none yet.
    """
    administrator = _ADMINISTRATOR.first()
    if administrator is None:
        raise AgentError(
            "There is no administrator yet: run `manage.py serve`, or `manage.py createsuperuser`.",
            code="no_administrator",
        )
    return administrator

"""Close long-lived sockets and streams when their caller's access ends, or the session is not the caller's any more.

A few queries every other second check all callers of this process and what they watch, however many there are. A
change in this process is checked at once.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import Error
from django.db.models.signals import post_delete, post_save

from agents_app.access import browser_sessions, rights
from agents_app.access.callers import Caller
from agents_app.access.rights import Watcher
from agents_app.background import spawn
from agents_app.database.threads import DatabaseThreads
from agents_app.exceptions import AgentError, AuthenticationExpired, SessionNotFound
from agents_app.models import ApiToken
from agents_app.notifier import access_changes
from agents_app.per_loop import per_loop

logger = logging.getLogger(__name__)

INTERVAL = 2.0  # seconds between two checks, if this process changes nothing
_LEAST_INTERVAL = 0.2  # seconds: many sign-outs share a check

Revoked = asyncio.Future[AgentError]  # done as soon as the access has ended; the result says which

_Watch = tuple[Caller, str]  # who watches, and which session

_database = DatabaseThreads("revocation", 1)


class _Watcher:
    """Checks the callers of one event loop's sockets and streams, as long as there are any."""

    def __init__(self) -> None:
        self._watches: dict[Revoked, _Watch] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def add(self, revoked: Revoked, caller: Caller, session_id: str) -> None:
        self._watches[revoked] = caller, session_id
        if self._task is None or self._task.done():
            self._task = spawn(self._check_all(), name="revocation")

    def remove(self, revoked: Revoked) -> None:
        self._watches.pop(revoked, None)

    async def _check_all(self) -> None:
        with access_changes.listen_with(self._changed):
            while self._watches:
                await asyncio.sleep(_LEAST_INTERVAL)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INTERVAL - _LEAST_INTERVAL):
                        await self._changed.wait()
                self._changed.clear()
                await self._check()

    async def _check(self) -> None:
        watches = dict(self._watches)
        try:
            ended = await _database.run(_ended, set(watches.values()))
        except Error as error:  # a database that is away is no reason to disconnect anybody
            logger.warning("Could not check for revoked access; trying again: %s", error)
            return
        for revoked, watch in watches.items():
            if watch in ended and not revoked.done():
                revoked.set_result(ended[watch])


_watcher = per_loop(_Watcher)


@contextlib.contextmanager
def watch(caller: Caller, session_id: str) -> Iterator[Revoked]:
    """Watch the access of a caller to a session inside the block. In the open mode, it never ends."""
    revoked: Revoked = asyncio.get_running_loop().create_future()
    watcher = _watcher()
    if settings.AUTH_REQUIRED:
        watcher.add(revoked, caller, session_id)
    try:
        yield revoked
    finally:
        watcher.remove(revoked)
        revoked.cancel()


def require_access(revoked: Revoked) -> None:
    """Raises:
    AuthenticationExpired: the caller's access has ended.
    SessionNotFound: the session is not visible to the caller any more.
    """
    if revoked.done():
        raise revoked.result()


def watch_changes() -> None:
    """Check soon after a token or user of this process changed. Sessions of browsers notify by themselves."""
    post_delete.connect(_changed, sender=ApiToken, dispatch_uid="revocation")
    post_save.connect(_changed, sender=get_user_model(), dispatch_uid="revocation")


def _changed(sender: Any, created: bool = False, **kwargs: Any) -> None:
    if not created:
        access_changes.notify_on_commit()


def _ended(watches: Iterable[_Watch]) -> dict[_Watch, AgentError]:
    """Return what has ended, and why."""
    expired = _without_access({caller for caller, _ in watches})
    watchers = {watch: Watcher(watch[0].user.pk, watch[1], watch[0].is_limited) for watch in watches}
    lost = rights.lost_sessions(set(watchers.values()))
    text = "Your session has ended: the token expired or was revoked, you signed out, or the password was changed."
    ended: dict[_Watch, AgentError] = {}
    for watch, watcher in watchers.items():
        if watch[0] in expired:
            ended[watch] = AuthenticationExpired(text)
        elif watcher in lost:
            ended[watch] = SessionNotFound("There is no such session any more that you may see.")
    return ended


def _without_access(callers: Iterable[Caller]) -> set[Caller]:
    """Return the callers whose access has ended."""
    tokens = {caller.token.pk for caller in callers if caller.token}
    users = {caller.user.pk for caller in callers}
    valid = set(ApiToken.objects.valid().filter(pk__in=tokens).values_list("pk", flat=True)) if tokens else set()
    signed_in = browser_sessions.users_of({caller.session_hash for caller in callers if caller.session_hash})
    active = set(get_user_model().objects.filter(pk__in=users, is_active=True).values_list("pk", flat=True))

    def has_access(caller: Caller) -> bool:
        if caller.token:
            return caller.token.pk in valid
        return caller.user.pk in active and (caller.session_hash is None or caller.session_hash in signed_in)

    return {caller for caller in callers if not has_access(caller)}

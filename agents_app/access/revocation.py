"""Close long-lived sockets and streams when their token is revoked or their user is deactivated.

One query every few seconds checks all callers of this process, however many there are.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import Error

from agents_app.access.callers import Caller
from agents_app.background import spawn
from agents_app.database.threads import DatabaseThreads
from agents_app.exceptions import AuthenticationExpired
from agents_app.models import ApiToken
from agents_app.per_loop import per_loop

logger = logging.getLogger(__name__)

INTERVAL = 2.0  # seconds between two checks
_SESSIONS_EVERY = 15  # checks: browsers' sessions are read one by one

Revoked = asyncio.Future[None]  # done as soon as the caller's access has ended

_database = DatabaseThreads("revocation", 1)


class _Watcher:
    """Checks the callers of one event loop's sockets and streams, as long as there are any."""

    def __init__(self) -> None:
        self._callers: dict[Revoked, Caller] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, revoked: Revoked, caller: Caller) -> None:
        self._callers[revoked] = caller
        if self._task is None or self._task.done():
            self._task = spawn(self._check_all(), name="revocation")

    def remove(self, revoked: Revoked) -> None:
        self._callers.pop(revoked, None)

    async def _check_all(self) -> None:
        checks = 0
        while self._callers:
            await asyncio.sleep(INTERVAL)
            checks += 1
            callers = dict(self._callers)
            with_sessions = checks % _SESSIONS_EVERY == 0
            try:
                ended = await _database.run(_without_access, set(callers.values()), with_sessions=with_sessions)
            except Error as error:  # a database that is away is no reason to disconnect anybody
                logger.warning("Could not check for revoked access; trying again: %s", error)
                continue
            for revoked, caller in callers.items():
                if caller in ended and not revoked.done():
                    revoked.set_result(None)


_watcher = per_loop(_Watcher)


@contextlib.contextmanager
def watch(caller: Caller) -> Iterator[Revoked]:
    """Watch the access of a caller inside the block. In the open mode, it never ends."""
    revoked: Revoked = asyncio.get_running_loop().create_future()
    watcher = _watcher()
    if settings.AUTH_REQUIRED:
        watcher.add(revoked, caller)
    try:
        yield revoked
    finally:
        watcher.remove(revoked)
        revoked.cancel()


def require_access(revoked: Revoked) -> None:
    """Raises:
    AuthenticationExpired: the caller's access has ended.
    """
    if revoked.done():
        text = "Your session has ended: the token expired or was revoked, or you signed out."
        raise AuthenticationExpired(text)


def _without_access(callers: Iterable[Caller], *, with_sessions: bool) -> set[Caller]:
    """Return the callers whose access has ended."""
    tokens = {caller.token.pk for caller in callers if caller.token}
    users = {caller.user.pk for caller in callers}
    valid = set(ApiToken.objects.valid().filter(pk__in=tokens).values_list("pk", flat=True)) if tokens else set()
    active = set(get_user_model().objects.filter(pk__in=users, is_active=True).values_list("pk", flat=True))

    def has_access(caller: Caller) -> bool:
        if caller.token:
            return caller.token.pk in valid
        return caller.user.pk in active and (not with_sessions or caller.has_access())

    return {caller for caller in callers if not has_access(caller)}

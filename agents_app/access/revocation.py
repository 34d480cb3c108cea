"""Whoever stays for long, at a socket or a stream, and whether they are still welcome.

One look for all of this process, every few seconds, however many there are.
"""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import Error

from agents_app.access.callers import Caller
from agents_app.database.threads import DatabaseThreads
from agents_app.exceptions import NotWelcome
from agents_app.models import ApiToken

logger = logging.getLogger(__name__)

INTERVAL = 2.0  # seconds between two looks
_SESSIONS_EVERY = 15  # looks: a browser's session is read one by one

Gone = asyncio.Future[None]  # done as soon as somebody is not welcome any more

_database = DatabaseThreads("welcome", 1)
_staying: dict[Gone, Caller] = {}
_looking: "asyncio.Task[None] | None" = None


def enter(caller: Caller) -> Gone:
    """Begin to look after somebody who stays, until `leave`. In the open mode everybody may."""
    global _looking
    gone: Gone = asyncio.get_running_loop().create_future()
    if settings.AUTH_REQUIRED:
        _staying[gone] = caller
        if _looking is None or _looking.done():
            _looking = asyncio.create_task(_look(), context=contextvars.Context())
    return gone


def leave(gone: Gone) -> None:
    """They have gone by themselves."""
    _staying.pop(gone, None)
    gone.cancel()


@contextlib.contextmanager
def staying(caller: Caller) -> Iterator[Gone]:
    """The same for as long as something goes on."""
    gone = enter(caller)
    try:
        yield gone
    finally:
        leave(gone)


def require_welcome(gone: Gone) -> None:
    """Raises:
    NotWelcome: they must go.
    """
    if gone.done():
        raise NotWelcome("You are not welcome any more: the token has expired or was revoked, or you have signed out.")


async def _look() -> None:
    looks = 0
    while _staying:
        await asyncio.sleep(INTERVAL)
        looks += 1
        staying = dict(_staying)
        try:
            unwelcome = await _database.run(_unwelcome, set(staying.values()), sessions=looks % _SESSIONS_EVERY == 0)
        except Error as error:  # nobody is sent off because the database is away
            logger.warning("Nobody knows who is still welcome: %s", error)
            continue
        for gone, caller in staying.items():
            if caller in unwelcome and not gone.done():
                gone.set_result(None)


def _unwelcome(callers: Iterable[Caller], *, sessions: bool) -> set[Caller]:
    tokens = {caller.token.pk for caller in callers if caller.token}
    users = {caller.user.pk for caller in callers}
    valid = set(ApiToken.objects.valid().filter(pk__in=tokens).values_list("pk", flat=True)) if tokens else set()
    active = set(get_user_model().objects.filter(pk__in=users, is_active=True).values_list("pk", flat=True))

    def is_welcome(caller: Caller) -> bool:
        if caller.token:
            return caller.token.pk in valid
        return caller.user.pk in active and (not sessions or caller.is_still_welcome())

    return {caller for caller in callers if not is_welcome(caller)}

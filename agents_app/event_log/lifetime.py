"""The begin and end of sessions: watchers hear of both at once, on all instances."""

import asyncio
import logging
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models.signals import post_delete

from agents_app.database.prepared import Parameter, Prepared
from agents_app.event_log import following
from agents_app.event_log.reading import name_key
from agents_app.live import Frame, end_soon, hub, publish_soon
from agents_app.models import Session

logger = logging.getLogger(__name__)


def announce(session: Session) -> None:
    """Tell whoever waits for this new session, once the caller's transaction is committed."""
    key = name_key(session.owner_id, session.name)
    transaction.on_commit(lambda: publish_soon([(key, [Frame(0, 0, False, "")])]))


async def wait_until_created(owner_id: int, name: str) -> str:
    """Wait until the owner has a session of that name, and return its id.

    It subscribes before it looks, so that no session is missed in between. What arrives is a hint: the row decides.
    """
    following.start_watchdog()
    async with hub().subscribe(name_key(owner_id, name)) as subscription:
        while (session_id := await _id_of(owner_id, name)) is None:
            await subscription.next()
        return session_id


async def _id_of(owner_id: int, name: str) -> str | None:
    while True:
        try:
            return await following.readers.run(_read_id, owner_id, name)
        except DatabaseError as error:
            logger.warning("The sessions cannot be read; trying again: %r", error)
        await asyncio.sleep(following.RETRY_INTERVAL)


_OWN = Prepared(lambda: Session.objects.filter(owner=Parameter("owner"), name=Parameter("name")))


def _read_id(owner_id: int, name: str) -> str | None:
    session = _OWN.first(owner=owner_id, name=name)
    return session.pk if session else None


def end_watching(sender: Any, instance: Session, **_: Any) -> None:
    """End the watching of a deleted session, once that is committed.

    A signal, because a session is also deleted with its owner, and by the admin and the retention in sets.
    """
    session_id = instance.pk
    transaction.on_commit(lambda: end_soon([session_id]))


def connect() -> None:
    """Hear of deletions from now on."""
    post_delete.connect(end_watching, sender=Session, dispatch_uid="end watching")

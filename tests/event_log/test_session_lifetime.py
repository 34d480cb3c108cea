"""Watchers learn at once that a session begins or ends; if the message about it is lost, the watchdog finds it."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers
from django.contrib.auth import get_user_model
from django.db import transaction

from agents_app import event_log
from agents_app.event_log import following
from agents_app.exceptions import SessionNotFound
from agents_app.models import Session
from agents_app.runs.sessions import open_session
from tests.harness.log_threads import database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both, pytest.mark.usefixtures("log_database")]


class SilentLayer(InMemoryChannelLayer):
    """Loses every message to a group."""

    async def group_send(self, group: str, message: dict) -> None:
        pass


@pytest.fixture
def owner() -> Any:
    return get_user_model().objects.create_user(f"owner-{uuid.uuid4().hex}")


def play(story: Callable[[], Any], layer: InMemoryChannelLayer) -> None:
    """Play a story to its end over this channel layer."""

    async def limited() -> None:
        channel_layers.set("default", layer)
        async with asyncio.timeout(60):
            await story()

    before = channel_layers.set("default", layer)
    try:
        asyncio.run(limited())
    finally:
        channel_layers.set("default", before)


def start(user: Any, name: str) -> str:
    with transaction.atomic():
        return open_session(user, name).pk


async def follow(session_id: str, began: asyncio.Event) -> None:
    began.set()
    async for _ in event_log.follow(session_id, 0):
        pass


@pytest.mark.parametrize("deleted", ["session", "owner"])
def test_the_end_of_a_session_ends_its_watchers_in_the_same_moment(owner, monkeypatch, deleted):
    monkeypatch.setattr(following, "WATCHDOG_INTERVAL", 3600)
    session_id = start(owner, "s")

    async def story() -> None:
        began = asyncio.Event()
        watching = asyncio.create_task(follow(session_id, began))
        await began.wait()
        while not following.hub().heads():
            await asyncio.sleep(0)
        rows = get_user_model().objects.filter(pk=owner.pk) if deleted == "owner" else Session.objects.all()
        await database.run(rows.delete)
        with pytest.raises(SessionNotFound):
            await watching
        if deleted == "session":
            assert await database.run(start, owner, "s") != session_id

    play(story, InMemoryChannelLayer())


@pytest.mark.parametrize("layer", [InMemoryChannelLayer, SilentLayer])
def test_whoever_waits_for_a_name_learns_its_id(owner, monkeypatch, layer):
    monkeypatch.setattr(following, "WATCHDOG_INTERVAL", 3600 if layer is InMemoryChannelLayer else 0.05)
    stranger = get_user_model().objects.create_user(f"stranger-{uuid.uuid4().hex}")

    async def story() -> None:
        waiting = [asyncio.create_task(event_log.wait_until_created(user.pk, "s")) for user in (owner, stranger)]
        while len(following.hub().heads()) < 2:
            await asyncio.sleep(0)
        session_id = await database.run(start, owner, "s")
        assert await waiting[0] == session_id
        assert not waiting[1].done()
        assert await event_log.wait_until_created(owner.pk, "s") == session_id
        waiting[1].cancel()

    play(story, layer())

"""The processes of a deployment: each says who it is when one of them, or the doctor, asks through the layer."""

import asyncio
import contextvars
import os
import socket
import time
from dataclasses import asdict, dataclass

from django.conf import settings

from agents_app import live

_QUESTION = "presence"
_LISTEN_INTERVAL = 10.0  # seconds; a layer that was away when we came is joined then

_listening: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """One process. `at`: its clock when it answered, in seconds since the epoch."""

    role: str
    host: str
    pid: int
    version: str
    at: float

    def __str__(self) -> str:
        return f"{self.role} {self.host}:{self.pid}"


def announce(role: str) -> None:
    """Let this process answer from now on; once. The running event loop is the one that serves."""
    global _listening
    if _listening is None or _listening.done():
        _listening = asyncio.create_task(_answer_for_ever(role), context=contextvars.Context())


async def _answer_for_ever(role: str) -> None:
    await live.hub().handle(_QUESTION, lambda about: [asdict(_this(role))])
    while True:
        await asyncio.sleep(_LISTEN_INTERVAL)
        await live.hub().listen()


def _this(role: str) -> Process:
    return Process(role, socket.gethostname(), os.getpid(), settings.VERSION, time.time())


async def everybody() -> list[Process]:
    """The processes that answer now: none where the layer does not work."""
    return sorted((Process(**said) for said in await live.hub().ask(_QUESTION)), key=str)

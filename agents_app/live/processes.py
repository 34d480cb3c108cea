"""The processes of a deployment: each identifies itself when another process or the doctor asks."""

import asyncio
import os
import socket
import time
from dataclasses import asdict, dataclass

from django.conf import settings

from agents_app.background import spawn
from agents_app.live.hub import hub

_QUESTION = "processes"
_LISTEN_INTERVAL = 10.0  # seconds; a layer that was down at the start is joined then

_announcement: asyncio.Task[None] | None = None


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
    """Let this process answer from now on, through the running event loop. Later calls do nothing."""
    global _announcement
    if _announcement is None or _announcement.done():
        _announcement = spawn(_answer_for_ever(role), name="process announcement")


async def _answer_for_ever(role: str) -> None:
    await hub().questions.handle(_QUESTION, lambda _: [asdict(_this_process(role))])
    while True:
        await asyncio.sleep(_LISTEN_INTERVAL)
        await hub().listen()


def _this_process(role: str) -> Process:
    return Process(role, socket.gethostname(), os.getpid(), settings.VERSION, time.time())


async def list_running() -> list[Process]:
    """Return the processes that answer now: none if the channel layer does not work."""
    return sorted((Process(**row) for row in await hub().questions.ask(_QUESTION)), key=str)

"""What is between processes: Redis, the channel layer, and who answers through it."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import redis
from django.conf import settings

from agents_app import live
from agents_app.doctor.findings import Finding, broken, ok, one_line, plural, warning
from agents_app.doctor.storage import skewed
from agents_app.live import processes

_PATIENCE = 3.0  # seconds
_ROOM = 64 * 1024**2  # bytes that Redis should keep for a subscriber who is slow
_REMEDY = "Start it, or mend REDIS_URL; until then tokens come from the database, later."


def redis_server() -> Iterator[Finding]:
    """Whether Redis answers, and is set up for subscribers."""
    if settings.EMBEDDED:
        return
    client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=_PATIENCE, socket_timeout=_PATIENCE)
    try:
        with client:
            client.ping()
            version, room = _asked(client)
    except (redis.RedisError, OSError) as error:
        yield broken("redis", f"It does not answer: {one_line(error).rstrip('.')}.", _REMEDY)
        return
    text = f"Redis {version} answers" if version else "It answers"
    if 0 < room < _ROOM:
        what = f"{text}, but hangs up on subscribers that are {room / 1024**2:.0f} MiB behind."
        yield warning("redis", what, "Set client-output-buffer-limit as deploy/redis.conf has it.")
    else:
        yield ok("redis", f"{text}.")


def _asked(client: redis.Redis) -> tuple[str, int]:
    """Its version, and how many bytes a subscriber may be behind; 0: any number. Hosted ones may tell neither."""
    try:
        about: Any = client.info("server")
        limits: Any = client.config_get("client-output-buffer-limit")
        words = str(limits["client-output-buffer-limit"]).split()
        return about["redis_version"], int(words[words.index("pubsub") + 1])
    except (redis.ResponseError, ValueError, LookupError):
        return "", 0


def layer() -> Iterator[Finding]:
    """A message to ourselves through the real channel layer, and who else is there."""
    if settings.EMBEDDED:
        return
    answered, seconds, others = asyncio.run(_ask())
    if not answered:
        yield broken("channel layer", "A message that we sent ourselves did not come back.", "Redis must pass it on.")
        return
    yield ok("channel layer", f"A message that we sent ourselves came back after {seconds * 1000:.0f} ms.")
    yield from _processes(others)


async def _ask() -> tuple[bool, float, list[processes.Process]]:
    for _ in range(3):  # each has a second, which a busy machine may need for other things
        began = time.monotonic()
        if await live.hub().questions.layer_works():
            seconds = time.monotonic() - began
            return True, seconds, await processes.list_running()
    return False, 0.0, []


def _processes(others: list[processes.Process]) -> Iterator[Finding]:
    counts = {role: sum(process.role == role for process in others) for role in ("web", "worker")}
    told = " and ".join(plural(count, f"{role} process", f"{role} processes") for role, count in counts.items())
    if not all(counts.values()):
        where = "Start `manage.py serve` and `manage.py worker`, all with the same REDIS_URL."
        yield warning("processes", f"{told} answer through it.", where)
    else:
        yield ok("processes", f"{told} answer through it.")
    strange = [f"{process} has {process.version}" for process in others if process.version != settings.VERSION]
    if strange:
        yield warning("versions", f"We are {settings.VERSION}, {', '.join(strange)}.", "Restart what is older.")
    elif others:
        yield ok("versions", f"All have {settings.VERSION}.")
    for process in others:
        found = skewed("clocks", f"the clock of {process}", process.at - time.time(), 0.5)
        if found.state != "ok":
            yield found

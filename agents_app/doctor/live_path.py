"""What connects processes: Redis, the channel layer, and the processes that answer through it."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import redis
from django.conf import settings

from agents_app import live
from agents_app.doctor.findings import Finding, broken, ok, one_line, plural, warning
from agents_app.doctor.storage import clock_finding
from agents_app.live import processes

_TIMEOUT = 3.0  # seconds
_BUFFER = 64 * 1024**2  # bytes that Redis should keep for a slow subscriber
_REMEDY = "Start it, or fix REDIS_URL; until then tokens come late, from the database."


def redis_server() -> Iterator[Finding]:
    """Check that Redis answers, and that its limits fit subscribers."""
    if settings.EMBEDDED:
        return
    client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=_TIMEOUT, socket_timeout=_TIMEOUT)
    try:
        with client:
            client.ping()
            version, limit = _version_and_limit(client)
    except (redis.RedisError, OSError) as error:
        yield broken("redis", f"It does not answer: {one_line(error).rstrip('.')}.", _REMEDY)
        return
    text = f"Redis {version} answers" if version else "It answers"
    if 0 < limit < _BUFFER:
        text = f"{text}, but disconnects subscribers that are {limit / 1024**2:.0f} MiB behind."
        yield warning("redis", text, "Set client-output-buffer-limit as in deploy/redis.conf.")
    elif _is_open():
        remedy = "Set requirepass in its configuration, and the password in REDIS_URL: docs/many-instances.md."
        yield warning("redis", f"{text} without a password: any program that reaches it reads all sessions.", remedy)
    else:
        yield ok("redis", f"{text}.")


def _is_open() -> bool:
    """Return whether Redis answers somebody who knows no password. A Unix socket has permissions instead."""
    if settings.REDIS_URL.startswith("unix:"):
        return False
    pool = redis.ConnectionPool.from_url(settings.REDIS_URL, socket_connect_timeout=_TIMEOUT, socket_timeout=_TIMEOUT)
    for name in ("username", "password"):
        pool.connection_kwargs.pop(name, None)
    try:
        with redis.Redis.from_pool(pool) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def _version_and_limit(client: redis.Redis) -> tuple[str, int]:
    """Return the version, and how many bytes a subscriber may be behind, 0 for any; hosted Redis may report neither."""
    try:
        info: Any = client.info("server")
        limits: Any = client.config_get("client-output-buffer-limit")
        words = str(limits["client-output-buffer-limit"]).split()
        return info["redis_version"], int(words[words.index("pubsub") + 1])
    except (redis.ResponseError, ValueError, LookupError):
        return "", 0


def layer() -> Iterator[Finding]:
    """Send a message to ourselves through the real channel layer, and ask all processes to answer."""
    if settings.EMBEDDED:
        return
    answered, seconds, others = asyncio.run(_ask())
    if not answered:
        yield broken(
            "channel layer",
            "A message to ourselves did not come back.",
            "Check Redis and REDIS_URL.",
        )
        return
    yield ok("channel layer", f"A message to ourselves came back after {seconds * 1000:.0f} ms.")
    yield from _processes(others)


async def _ask() -> tuple[bool, float, list[processes.Process]]:
    for _ in range(3):  # each attempt has one second, which may be too short on a busy machine
        began = time.monotonic()
        if await live.hub().questions.layer_works():
            seconds = time.monotonic() - began
            return True, seconds, await processes.list_running()
    return False, 0.0, []


def _processes(others: list[processes.Process]) -> Iterator[Finding]:
    counts = {role: sum(process.role == role for process in others) for role in ("web", "worker")}
    summary = " and ".join(plural(count, f"{role} process", f"{role} processes") for role, count in counts.items())
    if not all(counts.values()):
        remedy = "Start `manage.py serve` and `manage.py worker`, all with the same REDIS_URL."
        yield warning("processes", f"{summary} answer.", remedy)
    else:
        yield ok("processes", f"{summary} answer.")
    different = [f"{process} has {process.version}" for process in others if process.version != settings.VERSION]
    if different:
        yield warning(
            "versions", f"This command has {settings.VERSION}, {', '.join(different)}.", "Restart the older ones."
        )
    elif others:
        yield ok("versions", f"All have {settings.VERSION}.")
    for process in others:
        finding = clock_finding("clocks", f"the clock of {process}", process.at - time.time(), 0.5)
        if finding.state != "ok":
            yield finding

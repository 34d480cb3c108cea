"""Count what callers do, for limits: in Redis for all instances together, else in this process."""

import functools
import logging
import time
from typing import Any

import orjson
from django.core.cache import BaseCache, caches

from agents_app import clock
from agents_app.exceptions import RateLimited
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

MINUTE = 60
_REDIS_PAUSE = 5.0  # seconds for which Redis is not used after an error


class JSONSerializer:
    """Stores values of the cache in Redis as JSON. Django's own way, pickle, executes what others write there."""

    def dumps(self, value: Any) -> int | bytes:
        return value if type(value) is int else orjson.dumps(value)  # Redis counts with plain numbers only

    def loads(self, data: bytes) -> Any:
        return orjson.loads(data)


def take(action: str, who: object, *, limit: int, seconds: int = MINUTE) -> int:
    """Count one more `action` by `who` in this minute, or in this window of `seconds`. A limit of 0 is no limit.

    Returns how many there are now, 0 without a limit.

    Raises:
        RateLimited: that is more than `limit`; `retry_after` is the time to the next window.
    """
    if limit <= 0:
        return 0
    count = _counters.add(action, who, seconds, 1)
    if count > limit:
        raise RateLimited(f"Too many {action}: wait a moment.", retry_after=seconds - clock.now().timestamp() % seconds)
    return count


def give_back(action: str, who: object, *, limit: int, seconds: int = MINUTE) -> None:
    """Uncount one: it turned out not to be an action that is limited."""
    if limit > 0:
        _counters.add(action, who, seconds, -1)


class _Counters:
    """The counts in Redis, or this process's own for a moment after Redis failed."""

    def __init__(self) -> None:
        self.redis_retry_at = 0.0

    def add(self, action: str, who: object, seconds: int, number: int) -> int:
        """Return the count after this. It may be wrong, but nobody is refused because it cannot be reached."""
        key = f"{action.replace(' ', '-')}:{who}:{int(clock.now().timestamp() // seconds)}"
        if time.monotonic() >= self.redis_retry_at:
            try:
                return _add(_cache("default"), key, number, seconds)
            except _redis_errors() as error:
                metrics.REDIS_ERRORS.labels("count").inc()
                logger.warning("Redis does not count, so this process counts alone: %s", type(error).__name__)
                self.redis_retry_at = time.monotonic() + _REDIS_PAUSE
        return _add(_cache("local"), key, number, seconds)


_counters = _Counters()


@functools.cache
def _cache(alias: str) -> BaseCache:
    """Return a cache for the whole process. Django's own are one per context: each count made a connection to Redis."""
    return caches.create_connection(alias)


def _redis_errors() -> type[Exception]:
    from redis.exceptions import RedisError  # a tenth of a second of the start, and not needed without Redis

    return RedisError


def _add(cache: BaseCache, key: str, number: int, seconds: int) -> int:
    try:
        return cache.incr(key, number)  # first: of 100 counts in a window, 99 find the counter there
    except ValueError:
        cache.add(key, 0, timeout=2 * seconds)
    try:
        return cache.incr(key, number)
    except ValueError:  # it was evicted in between: the cache is full, or was flushed
        return number

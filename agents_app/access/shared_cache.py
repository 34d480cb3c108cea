"""Small values that all instances share: in Redis, or in this process if there is no Redis or it does not answer."""

import functools
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from django.core.cache import BaseCache, caches

from agents_app.observability import metrics

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
_REDIS_PAUSE = 5.0  # seconds for which Redis is not used after an error


class JSONSerializer:
    """Stores values of the cache in Redis as JSON. Django's own way, pickle, executes what others write there."""

    def dumps(self, value: Any) -> int | bytes:
        return value if type(value) is int else orjson.dumps(value)  # Redis counts with plain numbers only

    def loads(self, data: bytes) -> Any:
        return orjson.loads(data)


class _Redis:
    """Whether Redis is used now, or not for a moment after it failed."""

    retry_at = 0.0


def use(work: Callable[[BaseCache], Result]) -> Result:
    """Do something with the values. Those of this process may be other ones than Redis has."""
    if time.monotonic() >= _Redis.retry_at:
        try:
            return work(_cache("default"))
        except _redis_errors() as error:
            metrics.REDIS_ERRORS.labels("count").inc()
            logger.warning("Redis does not count, so this process counts alone: %s", type(error).__name__)
            _Redis.retry_at = time.monotonic() + _REDIS_PAUSE
    return work(_cache("local"))


def add(cache: BaseCache, key: str, number: int, timeout: int) -> int:
    """Add to a counter that is kept for `timeout` seconds after it begins, and return its value."""
    try:
        return cache.incr(key, number)  # first: of 100 counts in a window, 99 find the counter there
    except ValueError:
        cache.add(key, 0, timeout=timeout)
    try:
        return cache.incr(key, number)
    except ValueError:  # it was evicted in between: the cache is full, or was flushed
        return number


@functools.cache
def _cache(alias: str) -> BaseCache:
    """Return a cache for the whole process. Django's own are one per context: each count made a connection to Redis."""
    return caches.create_connection(alias)


def _redis_errors() -> type[Exception]:
    from redis.exceptions import RedisError  # a tenth of a second of the start, and not needed without Redis

    return RedisError

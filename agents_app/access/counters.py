"""Counting what callers do, for limits: in Redis for all instances together, else in this process."""

import logging
import time

from django.core.cache import BaseCache, caches

from agents_app import clock
from agents_app.exceptions import RateLimited
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

MINUTE = 60
_PAUSE = 5.0  # seconds for which Redis is not asked after it did not answer
_ask_again_at = 0.0


def take(what: str, who: object, *, limit: int, seconds: int = MINUTE) -> None:
    """Count one more of `what` by `who`, in this minute, or whatever `seconds` say. A limit of 0 is none.

    Raises:
        RateLimited: that is more than `limit`; it says when the next minute begins.
    """
    if limit > 0 and _changed(what, who, seconds, by=1) > limit:
        raise _limited(what, seconds)


def give_back(what: str, who: object, *, limit: int, seconds: int = MINUTE) -> None:
    """Take one off the count: it was none of those that are limited, as was seen only afterwards."""
    if limit > 0:
        _changed(what, who, seconds, by=-1)


def _limited(what: str, seconds: int) -> RateLimited:
    return RateLimited(f"Too many {what}: wait a moment.", retry_after=seconds - clock.now().timestamp() % seconds)


def _changed(what: str, who: object, seconds: int, *, by: int) -> int:
    """The count after this. Whether it is exact, or even reachable, never decides whether anybody is served."""
    global _ask_again_at
    key = f"{what.replace(' ', '-')}:{who}:{int(clock.now().timestamp() // seconds)}"
    if time.monotonic() >= _ask_again_at:
        try:
            return _change(caches["default"], key, by, seconds)
        except _redis_errors() as error:
            metrics.REDIS_ERRORS.labels("count").inc()
            logger.warning("Redis does not count, so this process counts alone: %s", type(error).__name__)
            _ask_again_at = time.monotonic() + _PAUSE
    return _change(caches["local"], key, by, seconds)


def _redis_errors() -> type[Exception]:
    from redis.exceptions import RedisError  # a tenth of a second of the start, and not needed without Redis

    return RedisError


def _change(cache: BaseCache, key: str, by: int, seconds: int) -> int:
    cache.add(key, 0, timeout=2 * seconds)
    try:
        return cache.incr(key, by)
    except ValueError:  # it went away in between: full, or flushed
        return by

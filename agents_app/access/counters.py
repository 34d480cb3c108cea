"""Count what callers do, for limits: in Redis for all instances together, else in this process."""

import functools

from agents_app import clock
from agents_app.access import shared_cache
from agents_app.exceptions import RateLimited

MINUTE = 60


def take(action: str, who: object, *, limit: int, seconds: int = MINUTE) -> int:
    """Count one more `action` by `who` in this minute, or in this window of `seconds`. A limit of 0 is no limit.

    Returns how many there are now, 0 without a limit.

    Raises:
        RateLimited: that is more than `limit`; `retry_after` is the time to the next window.
    """
    if limit <= 0:
        return 0
    count = _add(action, who, seconds, 1)
    if count > limit:
        raise RateLimited(f"Too many {action}: wait a moment.", retry_after=seconds - clock.now().timestamp() % seconds)
    return count


def give_back(action: str, who: object, *, limit: int, seconds: int = MINUTE) -> None:
    """Uncount one: it turned out not to be an action that is limited."""
    if limit > 0:
        _add(action, who, seconds, -1)


def _add(action: str, who: object, seconds: int, number: int) -> int:
    """Return the count after this. It may be wrong, but nobody is refused because it cannot be reached."""
    key = f"{action.replace(' ', '-')}:{who}:{int(clock.now().timestamp() // seconds)}"
    return shared_cache.use(functools.partial(shared_cache.add, key=key, number=number, timeout=2 * seconds))

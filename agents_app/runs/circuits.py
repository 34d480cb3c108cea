"""Servers of models that fail repeatedly are not asked for a while. All workers share what they know of them.

In Redis where there is one, else in this process. A circuit is closed while its server works. It opens when most of
its requests fail, and after a pause one request at a time tries the server; the first that succeeds closes it again.
"""

import asyncio
import functools
from collections import Counter

from django.conf import settings
from django.core.cache import BaseCache

from agents_app import clock
from agents_app.access import shared_cache
from agents_app.engine.fallbacks import CLOSED, OPEN, TRIAL
from agents_app.engine.spec import ModelSpec
from agents_app.models import Provider
from agents_app.observability import metrics

WINDOW = 120  # seconds in which failures count together
LEAST_FAILURES = 3  # of a window, and at least half of its requests
_REMEMBERED = 600  # seconds after a pause in which nobody tried the server: it counts as working then
_GRACE = 10  # seconds that a trial may take beside its time to the first token
_MOST_KEPT = 1000


class SharedCircuits:
    """See `engine.fallbacks.Circuits`."""

    def __init__(self) -> None:
        self._successes: Counter[str] = Counter()  # of this process, since its last failure

    async def state(self, spec: ModelSpec) -> str:
        timeout = int(spec.first_token_timeout) + _GRACE
        return await asyncio.to_thread(shared_cache.use, functools.partial(_admit, spec.circuit, timeout))

    async def succeeded(self, spec: ModelSpec, state: str) -> None:
        if state != CLOSED:
            await asyncio.to_thread(shared_cache.use, functools.partial(_close, spec.circuit))
            metrics.CIRCUITS.labels(CLOSED).inc()
            return
        if len(self._successes) >= _MOST_KEPT:
            self._successes.clear()
        self._successes[spec.circuit] += 1

    async def failed(self, spec: ModelSpec, state: str) -> None:
        successes = self._successes.pop(spec.circuit, 0)
        count = functools.partial(_count_failure, spec.circuit, successes, is_trial=state == TRIAL)
        if await asyncio.to_thread(shared_cache.use, count):
            metrics.CIRCUITS.labels(OPEN).inc()


circuits = SharedCircuits()


def state_of(provider: Provider) -> str:
    """Return the state of a provider's circuit for people: `closed`, `open`, or `half_open` while it is tried."""
    until, _ = shared_cache.use(functools.partial(_pause, provider.circuit))
    if until is None:
        return CLOSED
    return OPEN if clock.now().timestamp() < until else "half_open"


def _admit(circuit: str, timeout: int, cache: BaseCache) -> str:
    until, _ = _pause(circuit, cache)
    if until is None:
        return CLOSED
    if clock.now().timestamp() < until:
        return OPEN
    return TRIAL if cache.add(f"{circuit}:trial", 1, timeout) else OPEN


def _pause(circuit: str, cache: BaseCache) -> tuple[float | None, int]:
    """Return the end of the circuit's pause, and how many pauses there were in a row; None and 0 if it is closed."""
    match cache.get(f"{circuit}:open"):
        case [int() | float() as until, int(pauses)]:
            return until, pauses
    return None, 0


def _close(circuit: str, cache: BaseCache) -> None:
    cache.delete_many([f"{circuit}:{name}" for name in ("open", "failures", "successes", "trial")])


def _count_failure(circuit: str, successes: int, cache: BaseCache, *, is_trial: bool) -> bool:
    """Count a failure, and whatever succeeded before it. Returns whether that opens the circuit."""
    until, pauses = _pause(circuit, cache)
    if until is not None and not is_trial:
        return False  # the server was asked because there was no other one
    if until is None:
        failures = shared_cache.add(cache, f"{circuit}:failures", 1, WINDOW)
        total = shared_cache.add(cache, f"{circuit}:successes", successes, WINDOW)
        if failures < LEAST_FAILURES or failures < total:
            return False
    pause = min(settings.PROVIDER_PAUSE * 2 ** min(pauses, 10), settings.LONGEST_PAUSE)
    cache.set(f"{circuit}:open", [clock.now().timestamp() + pause, pauses + 1], int(pause) + _REMEMBERED)
    cache.delete_many([f"{circuit}:{name}" for name in ("failures", "successes", "trial")])
    return True

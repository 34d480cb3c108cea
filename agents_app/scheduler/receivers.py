"""The receivers of webhooks: how many messages each may be sent at a time, and a pause for those that keep failing."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

AT_ONCE = 20  # attempts of this process
AT_ONCE_PER_OWNER = 4
AT_ONCE_PER_RECEIVER = 2
FAILURES = 5  # in a row; then the receiver gets one attempt per PAUSE until it accepts one
PAUSE = 60.0  # seconds
_MOST_KEPT = 10_000  # receivers whose failures are counted


@dataclass(frozen=True, slots=True)
class Receiver:
    """A host, as one owner's tasks use it: what one owner's path of a shared host does is no reason to delay others."""

    owner: Any
    host: str

    @classmethod
    def of(cls, owner: Any, url: str) -> "Receiver":
        return cls(owner, urlsplit(url).netloc.lower())


@dataclass(frozen=True, slots=True)
class Waiting:
    """The due messages of one task."""

    task: Any
    receiver: Receiver
    count: int


def take_turns(waiting: Sequence[Waiting], sending: Iterable[Receiver]) -> Counter[Any]:
    """Return how many messages of each task may be sent now. `waiting`: oldest first.

    The next one is of the owner with the fewest attempts under way, then the oldest.
    """
    receivers = Counter(sending)
    owners: Counter[Any] = Counter()
    for receiver, count in receivers.items():
        owners[receiver.owner] += count
    turns: Counter[Any] = Counter()
    while owners.total() < AT_ONCE:
        candidates = [
            each
            for each in waiting
            if turns[each.task] < each.count
            and owners[each.receiver.owner] < AT_ONCE_PER_OWNER
            and receivers[each.receiver] < AT_ONCE_PER_RECEIVER
        ]
        if not candidates:
            break
        chosen = min(candidates, key=lambda each: owners[each.receiver.owner])  # the first of several
        turns[chosen.task] += 1
        owners[chosen.receiver.owner] += 1
        receivers[chosen.receiver] += 1
    return turns


@dataclass(slots=True)
class _Record:
    failures: int = 0
    closed_until: float = 0.0


@dataclass(slots=True)
class Breaker:
    """Counts the failures in a row of each receiver, in this process."""

    _records: dict[Receiver, _Record] = field(default_factory=dict)

    def admits(self, receiver: Receiver) -> bool:
        """Return whether an attempt may be made now. It counts as the one of this PAUSE."""
        record = self._records.get(receiver)
        if record is None or record.failures < FAILURES:
            return True
        now = time.monotonic()
        if now < record.closed_until:
            return False
        record.closed_until = now + PAUSE
        return True

    def record(self, receiver: Receiver, *, ok: bool) -> None:
        """Note the outcome of an attempt."""
        record = self._records.pop(receiver, _Record())
        if ok:
            return
        record.failures += 1
        record.closed_until = time.monotonic() + PAUSE
        self._records[receiver] = record
        if len(self._records) > _MOST_KEPT:
            del self._records[next(iter(self._records))]

"""Look up the names of hosts that users chose, so that the names of one user delay nobody else's.

The system's resolver blocks a thread until a name's server answers or its own time is up, half a minute and more, and
nothing interrupts it. So each owner has a share of these threads, which a look-up keeps until its thread is free again,
whoever still waits for it.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents_app.per_loop import per_loop

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

AT_ONCE = 64  # look-ups of one purpose
AT_ONCE_PER_OWNER = 8
TIMEOUT = 10.0  # seconds of a look-up, with the wait for a thread


@dataclass(slots=True)
class _Places:
    """The places for look-ups: all, and those of each owner who has any in use."""

    all: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    shares: weakref.WeakValueDictionary[Hashable, asyncio.Semaphore] = field(
        default_factory=weakref.WeakValueDictionary
    )

    def share(self, owner: Hashable) -> asyncio.Semaphore:
        return self.shares.setdefault(owner, asyncio.Semaphore(AT_ONCE_PER_OWNER))


class Resolver:
    """The look-ups of one purpose: those of another have places of their own."""

    def __init__(self) -> None:
        self._places = per_loop(_Places)

    def of(self, owner: Hashable) -> Resolve:
        """Return a function that looks up names for this owner."""
        return functools.partial(self._resolve, owner)

    async def _resolve(self, owner: Hashable, host: str, port: int) -> Sequence[str]:
        """Return all addresses of the host, as the system resolves them.

        Raises:
            OSError: there are none, or the answer took too long.
        """
        places = self._places()
        async with asyncio.timeout(TIMEOUT):
            with contextlib.ExitStack() as held:
                for semaphore in (places.share(owner), places.all):
                    await semaphore.acquire()
                    held.callback(semaphore.release)
                look_up = _in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
                kept = held.pop_all()
            look_up.add_done_callback(lambda _: kept.close())
            entries = await asyncio.shield(look_up)
        return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _in_thread(work: Callable[[], Any]) -> asyncio.Future[Any]:
    """Call `work` in a thread that the end of the process does not wait for, unlike those of an executor."""
    outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def call() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # whoever waits raises it
            outcome.set_exception(error)

    threading.Thread(target=call, name="resolve", daemon=True).start()
    return asyncio.wrap_future(outcome)


FETCHES = Resolver()  # of pages that agents read
WEBHOOKS = Resolver()

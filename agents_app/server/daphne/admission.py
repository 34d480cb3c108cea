"""Ask whose a large body is before it is stored: it would be in a file when the application asks.

Meanwhile the connection is not read. Neither is it while its sender has many large bodies on their way: they take
turns, within the time that a whole request has.
"""

import asyncio
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse
from twisted.web.http_headers import Headers

from agents_app.background import spawn
from agents_app.database.threads import DatabaseThreads
from agents_app.per_loop import per_loop

AT_ONCE_PER_USER = 16  # large bodies that a process reads or works on

_database = DatabaseThreads("large-bodies", 2)


@dataclass(slots=True)
class _Places:
    """The places of each user who has any in use."""

    of_users: weakref.WeakValueDictionary[Hashable, asyncio.Semaphore] = field(
        default_factory=weakref.WeakValueDictionary
    )

    def of(self, user: Hashable) -> asyncio.Semaphore:
        return self.of_users.setdefault(user, asyncio.Semaphore(AT_ONCE_PER_USER))


_places = per_loop(_Places)


class Admission:
    """The admission of one large body. `reject` writes the response to one that is not admitted."""

    def __init__(self, transport: Any, headers: Headers, reject: Callable[[HttpResponse], None]) -> None:
        self._transport = transport
        self._headers = headers
        self._reject = reject
        self._place: asyncio.Semaphore | None = None
        self._is_over = False
        transport.pauseProducing()
        self._task = spawn(self._admit())

    def end(self, _: object = None) -> None:
        """Give the place back: the response is written, or the connection is lost."""
        self._is_over = True
        self._task.cancel()
        if self._place is not None:
            self._place.release()
            self._place = None

    async def _admit(self) -> None:
        # It imports models, and this module is imported before Django's applications are.
        from agents_app.server.daphne.senders import sender

        peer = str(getattr(self._transport.getPeer(), "host", ""))
        result = await _database.run(sender, self._headers, peer)
        if isinstance(result, HttpResponse):
            self._reject(result)
        else:
            place = _places().of(result)
            await place.acquire()
            self._place = place
        self._transport.resumeProducing()

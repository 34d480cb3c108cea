"""What users keep open in this process: sockets, streams, and responses that wait for a run."""

import asyncio
import threading
from collections import defaultdict
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from django.conf import settings

from agents_app.exceptions import RateLimited

_RETRY_AFTER = 5.0  # seconds

_lock = threading.Lock()  # requests are in threads
_of_user: "defaultdict[int, WeakSet[Place]]" = defaultdict(WeakSet)


class Place:
    """One open connection of a user, until `leave`, or until nothing refers to it: its client may be gone by then."""

    def __init__(self, user_id: int) -> None:
        self._user_id = user_id

    def leave(self) -> None:
        with _lock:
            places = _of_user[self._user_id]
            places.discard(self)
            if not places:
                del _of_user[self._user_id]

    def leave_with(self, task: "asyncio.Task[Any] | None") -> None:
        """Leave when the task of a request is done: its response was sent, or its client has disconnected."""
        assert task is not None
        task.add_done_callback(lambda _: self.leave())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()


def take(user: Any) -> Place:
    """Return a place for one more connection of the user.

    Raises:
        RateLimited: the user has as many as SOCKETS_PER_USER.
    """
    with _lock:
        places = _of_user[user.pk]
        if 0 < settings.SOCKETS_PER_USER <= len(places):
            text = f"You have {settings.SOCKETS_PER_USER:,} sockets and streams open, which is the limit: close some."
            raise RateLimited(text, retry_after=_RETRY_AFTER)
        place = Place(user.pk)
        places.add(place)
        return place

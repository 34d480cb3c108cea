"""The connections of this process: nobody, and no single address, can have so many that others find no room."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from agents_app.access.origins import network_of

logger = logging.getLogger(__name__)

_NEAR = 0.9  # of the limit: from here on each new connection closes the one that has waited longest
_LOG_INTERVAL = 60.0  # seconds between two log lines about one problem
_ACCEPT_PAUSE = 0.5  # seconds without a file descriptor after which we try again


class Connections:
    """The open connections, by their transports.

    A connection *waits* until a whole request has arrived: it is new, idle after a response, or slow. Sockets count for
    their users, and all others for their address (of IPv6, a /64). A limit of 0 is no limit.
    """

    def __init__(self, *, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._open: set[Any] = set()
        self._addresses: dict[Any, str] = {}
        self._of_address: Counter[str] = Counter()
        self._waiting: dict[Any, Callable[[], None]] = {}  # longest first, with what closes each
        self._log = LogLimit()

    def admit(self, address: str) -> bool:
        """Return whether one more may be opened. Near the limit, close the one that has waited longest."""
        if 0 < self._most_per_address <= self._of_address[network_of(address)]:
            self._log.warning(
                "Refused a connection: %s has %s open (CONNECTIONS_PER_ADDRESS)", address, self._most_per_address
            )
            return False
        if self._most <= 0:
            return True
        if len(self._open) >= _NEAR * self._most and self._waiting:
            oldest, close = next(iter(self._waiting.items()))
            self.remove(oldest)  # now, because it closes only after all that are to be accepted in this turn
            close()
        if len(self._open) >= self._most:
            self._log.warning("Refused a connection: %s are open (CONNECTIONS_PER_PROCESS)", self._most)
            return False
        return True

    def add(self, transport: Any, address: str) -> None:
        network = network_of(address)
        self._open.add(transport)
        self._addresses[transport] = network
        self._of_address[network] += 1

    def remove(self, transport: Any) -> None:
        self._open.discard(transport)
        self._waiting.pop(transport, None)
        self.count_for_user(transport)

    def count_for_user(self, transport: Any) -> None:
        """Stop counting a connection for its address: it is a socket now, which counts for its user."""
        address = self._addresses.pop(transport, None)
        if address is not None:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def wait(self, transport: Any, close: Callable[[], None]) -> None:
        """Begin to wait for a request; `close` ends the connection if others need its place."""
        if transport in self._open:
            self._waiting[transport] = close

    def stop_waiting(self, transport: Any) -> None:
        self._waiting.pop(transport, None)


class LogLimit:
    """Writes at most one log line in a while: what many strangers cause must not fill the log."""

    def __init__(self) -> None:
        self._next = 0.0

    def warning(self, text: str, *arguments: object) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LOG_INTERVAL
            logger.warning(text, *arguments)


def pause_without_descriptors(port: Any, call_later: Callable[[float, Callable[[], None]], Any]) -> None:
    """Have a listening port pause while no file descriptor is left.

    Twisted keeps one in reserve to refuse connections with. If another thread takes it, the port is ready to accept
    again and again, and the process does nothing else.
    """
    accept = port.doRead
    log = LogLimit()

    def accept_or_pause() -> None:
        try:
            os.close(os.dup(port.fileno()))
        except OSError as error:
            log.warning("Cannot accept connections for a moment: %s", error)
            port.stopReading()
            call_later(_ACCEPT_PAUSE, lambda: port.startReading() if port.connected else None)
        else:
            accept()

    port.doRead = accept_or_pause

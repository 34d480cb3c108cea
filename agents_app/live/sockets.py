"""The sockets of all instances: who is connected, and a notice to everybody."""

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from agents_app import live

_LIST, _NOTICE = "connections", "notice"


@dataclass(frozen=True, slots=True)
class Connection:
    """One socket. `since`: seconds since the epoch; `instance`: the process that holds it."""

    id: str
    session_id: str
    user: str
    agent_name: str | None
    address: str
    since: float
    instance: str


class Register:
    """The sockets of this process. It answers for them when any process asks."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Connection, Callable[[str], None]]] = {}

    async def add(self, connection: Connection, notify: Callable[[str], None]) -> None:
        """Count a socket as connected; `notify` sends a notice to it."""
        if not self._open:
            await live.hub().handle(_LIST, lambda about: [asdict(known) for known, _ in self._open.values()])
            await live.hub().handle(_NOTICE, self._notify_all)
        self._open[connection.id] = (connection, notify)

    def remove(self, connection_id: str) -> None:
        self._open.pop(connection_id, None)

    def _notify_all(self, message: Any) -> list[Any]:
        for _, notify in self._open.values():
            notify(str(message))
        return [len(self._open)]


_registers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Register] = weakref.WeakKeyDictionary()


def register() -> Register:
    """The register of the running event loop."""
    return _registers.setdefault(asyncio.get_running_loop(), Register())


async def connections() -> list[dict[str, Any]]:
    """The sockets of all instances, oldest first."""
    found = await live.hub().ask(_LIST)
    return sorted(found, key=lambda connection: connection["since"])


async def broadcast(message: str) -> int:
    """Send a notice to the sockets of all instances. Returns how many there were."""
    return sum(await live.hub().ask(_NOTICE, message))

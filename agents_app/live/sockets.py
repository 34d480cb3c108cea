"""The sockets of all instances: list them, and send a notice to all."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from agents_app.live.hub import hub
from agents_app.per_loop import per_loop

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
    """The sockets of this process. It answers the questions of all processes about them."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Connection, Callable[[str], None]]] = {}

    async def add(self, connection: Connection, notify: Callable[[str], None]) -> None:
        """Register an open socket; `notify` sends a notice to it."""
        if not self._open:
            await hub().questions.handle(_LIST, lambda _: [asdict(connection) for connection, _ in self._open.values()])
            await hub().questions.handle(_NOTICE, self._notify_all)
        self._open[connection.id] = (connection, notify)

    def remove(self, connection_id: str) -> None:
        self._open.pop(connection_id, None)

    def _notify_all(self, message: Any) -> list[Any]:
        for _, notify in self._open.values():
            notify(str(message))
        return [len(self._open)]


register = per_loop(Register)  # the register of the running event loop


async def connections() -> list[dict[str, Any]]:
    """Return the sockets of all instances, oldest first."""
    rows = await hub().questions.ask(_LIST)
    return sorted(rows, key=lambda connection: connection["since"])


async def broadcast(message: str) -> int:
    """Send a notice to the sockets of all instances. Return their number."""
    return sum(await hub().questions.ask(_NOTICE, message))

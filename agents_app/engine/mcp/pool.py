"""The connections of one event loop: one for each server and scope, and not too many of them."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from agents_app import background
from agents_app.engine.spec import ServerSpec
from agents_app.engine.toolset import ToolsUnavailable

if TYPE_CHECKING:
    from agents_app.engine.mcp.connection import Connection

MOST = 500  # connections; a command's is a process with hundreds of megabytes, if it likes
MOST_OF_SERVER = 100


class Pool:
    """Connections by what they are made of, the one that was used last at the end."""

    def __init__(self) -> None:
        self._connections: OrderedDict[ServerSpec, Connection] = OrderedDict()

    def get(self, spec: ServerSpec, make: "Callable[[], Connection]") -> "Connection":
        """Return the one connection for that spec, which `make` makes.

        Raises:
            ToolsUnavailable: there are too many, and all are in use.
        """
        if spec not in self._connections:
            self._make_room(spec)
            self._connections[spec] = make()
        self._connections.move_to_end(spec)
        return self._connections[spec]

    def take_all(self) -> "list[Connection]":
        """Return all connections, and forget them."""
        connections = list(self._connections.values())
        self._connections.clear()
        return connections

    def _make_room(self, spec: ServerSpec) -> None:
        for idle in [other for other, connection in self._connections.items() if connection.is_idle]:
            del self._connections[idle]
        same = [other for other in self._connections if other.name == spec.name]
        if len(same) >= MOST_OF_SERVER:
            self._close_one(same, spec)
        elif len(self._connections) >= MOST:
            self._close_one(list(self._connections), spec)

    def _close_one(self, oldest_first: list[ServerSpec], spec: ServerSpec) -> None:
        for other in oldest_first:
            if not self._connections[other].is_busy:
                background.spawn(self._connections.pop(other).close())
                return
        raise ToolsUnavailable(
            f"The MCP server {spec.name!r} is not available: too many have it in use. Try again later."
        )

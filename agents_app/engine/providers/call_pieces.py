"""Put the pieces of a turn's tool calls together: by position, then by id. Pure: no I/O."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from agents_app.engine.providers.base import ToolCallPart

_MAX_CHECKS = 32  # of the arguments of one call: each reads all of them


@dataclass(slots=True)
class _Call:
    position: int
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    length: int = 0
    checks: int = 0

    def is_whole(self) -> bool:
        """Whether the arguments so far are a JSON object."""
        if self.checks >= _MAX_CHECKS or not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        self.checks += 1
        try:
            return isinstance(orjson.loads("".join(self.arguments)), dict)
        except orjson.JSONDecodeError:
            return False

    def has(self, arguments: str) -> bool:
        return len(arguments) == self.length and "".join(self.arguments) == arguments


class CallPieces:
    """The calls of one turn. Servers number calls, or identify them, or neither, and some do it wrong:

    they number every call 0, send a fresh id with every piece, send the id late, or repeat the name with every piece.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, index: Any, identity: Any, name: str, arguments: str) -> ToolCallPart:
        """Return the part for a piece: only what is new in it, and the position of its call."""
        index, identity = _index(index), _identity(identity)
        call = self._belongs_to(index, identity, name)
        if call is None or self._begins(call, index, identity, name, arguments):
            call = _Call(len(self._calls))
            self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        if call.name == name:
            if arguments and name and (identity in ("", call.id)) and call.has(arguments):
                arguments = ""  # the whole call again
            name = ""
        call.id, call.name = call.id or identity, call.name + name
        if arguments:
            call.arguments.append(arguments)
            call.length += len(arguments)
        return ToolCallPart(call.position, identity if identity == call.id else "", name, arguments)

    def _belongs_to(self, index: int | None, identity: str, name: str) -> _Call | None:
        """Return the call that the piece continues, unless it begins another one."""
        if index is not None and index in self._by_index:
            return self._by_index[index]
        if identity and (index is None or not name):
            same = next((call for call in reversed(self._calls) if call.id == identity), None)
            if same is not None:
                return same
        return self._calls[-1] if self._calls and (index is None or not (name or identity)) else None

    def _begins(self, call: _Call, index: int | None, identity: str, name: str, arguments: str) -> bool:
        """Whether the piece begins a call after `call`: only one with a name can."""
        if not name or not call.name:
            return False
        is_same_id = identity in ("", call.id)
        if name != call.name:
            is_rest_of_name = is_same_id and not arguments and not call.arguments
            return not is_rest_of_name
        if not call.arguments:
            return index is None and not is_same_id
        if identity and is_same_id:
            return False
        if index is not None and not identity and call.has(arguments):
            return False
        return bool(arguments or identity) and call.is_whole()


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def _identity(value: Any) -> str:
    if type(value) is int:
        return str(value)
    return value.replace("\x00", "") if isinstance(value, str) else ""

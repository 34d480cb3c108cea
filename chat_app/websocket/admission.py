"""Who may open a socket: its Origin, its session id, its caller, and how many sockets there are already."""

import re
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.http import parse_cookie

from agents_app.access import open_connections, origins
from agents_app.access.callers import Caller
from agents_app.access.open_connections import Place
from agents_app.exceptions import InvalidMessage, RateLimited
from agents_app.models import agent_names
from agents_app.models.sessions import SESSION_ID, SESSION_ID_RULE
from agents_app.observability import metrics
from chat_app.websocket import queries

BAD_SESSION, NOT_AUTHENTICATED, FOREIGN_ORIGIN, NOT_FOUND = 4400, 4401, 4403, 4404
RECONNECT, TOO_MANY, SERVER_ERROR = 4409, 4429, 4500

SUBPROTOCOL = "agent.v1"
_TICKET = "ticket."


class Refused(Exception):
    """The socket must not be opened; `code` is the close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class SocketCount:
    """The number of open sockets of this process."""

    def __init__(self) -> None:
        self._total = 0

    def add(self) -> None:
        """Count a socket.

        Raises:
            Refused: there are too many. It is counted nevertheless, until `remove`.
        """
        self._total += 1
        metrics.SOCKETS.inc()
        if 0 < settings.SOCKETS_PER_PROCESS < self._total:
            raise Refused(TOO_MANY, "too many sockets")

    def remove(self) -> None:
        self._total -= 1
        metrics.SOCKETS.dec()


count = SocketCount()  # of this process


def place_of(user: Any) -> Place:
    """Return the place of a socket among what its user keeps open.

    Raises:
        Refused: there are too many.
    """
    try:
        return open_connections.take(user)
    except RateLimited as error:
        raise Refused(TOO_MANY, "too many sockets of yours") from error


class Handshake:
    """The request that opens a socket."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self._scope = scope
        self._query = parse_qs(scope["query_string"].decode("latin1"))

    @property
    def subprotocol(self) -> str | None:
        return SUBPROTOCOL if SUBPROTOCOL in self._scope["subprotocols"] else None

    @property
    def client_address(self) -> str:
        """The address of the client, for people to read."""
        return origins.client_address(self._peer_address, [self._header(b"x-forwarded-for") or ""])

    @property
    def _peer_address(self) -> str:
        return str((self._scope.get("client") or [""])[0])

    def check_origin(self) -> None:
        """Raises:
        Refused: the host or the Origin is foreign.
        """
        host, origin = self._header(b"host") or "", self._header(b"origin")
        if not origins.host_allowed(host) or not origins.origin_allowed(origin, host):
            raise Refused(FOREIGN_ORIGIN, "foreign origin")

    def session_id(self) -> str:
        """Return the session that the address names: see `SessionQuerySet.resolve`.

        Raises:
            Refused: it is invalid.
        """
        session_id = self._scope["url_route"]["kwargs"].get("session_id", "").removesuffix("/")
        if not re.match(SESSION_ID, session_id):
            raise Refused(BAD_SESSION, f"the session id {SESSION_ID_RULE}")
        return session_id

    def agent_name(self) -> str | None:
        """Return the agent that the query names, if it does.

        Raises:
            InvalidMessage: that is not the name of an agent.
        """
        text = self._query.get("agent_name", [""])[0]
        if len(text) > agent_names.LONGEST or "\x00" in text:
            raise InvalidMessage("'agent_name' is not the name of an agent.", param="agent_name")
        return text or None

    def cursor(self) -> int | None:
        """Return the number after which the client wants events; None if it wants only new ones.

        Raises:
            InvalidMessage: it is not a number.
        """
        text = self._query.get("after", [None])[0]
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise InvalidMessage("'after' must be a whole number, 0 or more.", param="after")
        return int(text)

    async def authenticate(self) -> Caller:
        """Return the caller. A cookie counts only beside an Origin: see `check_origin`.

        Raises:
            Refused: the caller is unknown.
        """
        cookies = parse_cookie(self._header(b"cookie") or "") if self._header(b"origin") else {}
        tickets = (protocol for protocol in self._scope["subprotocols"] if protocol.startswith(_TICKET))
        caller = await queries.database.run(
            queries.caller,
            address=self._peer_address,
            authorization=self._header(b"authorization"),
            ticket=next(tickets, "").removeprefix(_TICKET),
            session_key=cookies.get(settings.SESSION_COOKIE_NAME),
        )
        if caller is None:
            raise Refused(NOT_AUTHENTICATED, "not authenticated")
        return caller

    def _header(self, name: bytes) -> str | None:
        return next((value.decode("latin1") for key, value in self._scope["headers"] if key == name), None)

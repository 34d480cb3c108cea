"""One request of an MCP client: who asks, and under which names its run is found again, on any instance.

Nothing is kept between requests: whatever a later one needs is in the ids that the client sends along, and in the
row of the run. So any request may reach any instance.
"""

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from django.core.signing import BadSignature, Signer
from django.utils.crypto import salted_hmac

from agents_app.access.callers import Caller
from agents_app.models.sessions import SESSION_ID

_SALT = "agents_app.mcp_server"
_FRESH = 20  # bytes
_WITH_HANDSHAKE = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
_PROGRESS = re.compile(r"\d{1,15}(\.\d{1,6})?")

RequestId = str | int


def new_session(user: Any) -> str:
    """An `Mcp-Session-Id` for this user: signed, so that every instance knows it."""
    return Signer(salt=_SALT).sign(f"{user.pk}.{secrets.token_hex(16)}")


def is_session_of(user: Any, session: str) -> bool:
    """Whether we have given the session to this user."""
    try:
        return Signer(salt=_SALT).unsign(session).split(".")[0] == str(user.pk)
    except BadSignature:
        return False


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the stream of one call, as the id of an event: a client that lost the stream sends the last one.

    `chat_session`: where the run is. `progress`: what the client has seen of it.
    """

    request_id: RequestId
    token: RequestId | None
    chat_session: str
    progress: float = 0.0

    def event_id(self, progress: str) -> str:
        named = json.dumps([self.request_id, self.token, self.chat_session])
        return f"{base64.urlsafe_b64encode(named.encode()).decode()}~{progress}"


def place_of(event_id: str) -> Place | None:
    """What an event's id says; None where it is none of ours."""
    named, _, progress = event_id.partition("~")
    try:
        request_id, token, chat_session = json.loads(base64.urlsafe_b64decode(named))
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(request_id, str | int) or not isinstance(token, str | int | None):
        return None
    if not re.match(SESSION_ID, str(chat_session)) or not _PROGRESS.fullmatch(progress):
        return None
    return Place(request_id, token, chat_session, float(progress))


@dataclass(slots=True)
class Asking:
    """One request. `session`: the client's, or empty. `resumes`: the place from which it goes on with a call.

    `revision`: of the protocol. `gone`: whether the client has closed the connection.
    """

    caller: Caller
    session: str = ""
    revision: str = ""
    resumes: Place | None = None
    gone: bool = False
    _fresh: str = field(default_factory=lambda: secrets.token_hex(_FRESH))

    @property
    def user(self) -> Any:
        return self.caller.user

    @property
    def closing_cancels(self) -> bool:
        """Whether the client, by closing the connection, says that it does not want the answer.

        With a handshake a lost connection means nothing, and `notifications/cancelled` cancels; without, it is this.
        """
        return bool(self.revision) and self.revision not in _WITH_HANDSHAKE

    @property
    def takes_empty_events(self) -> bool:
        """Whether the client takes an event that has an id and says nothing; older ones fail at it."""
        return self.revision == _WITH_HANDSHAKE[-1]

    def mark(self, request_id: RequestId) -> str:
        """What stands for the request `request_id` of the client's session: the same if it is sent again.

        A request without a session is one of its own.
        """
        if not self.session:
            return self._fresh
        return salted_hmac(_SALT, f"{self.session}:{json.dumps(request_id)}").hexdigest()

    def message_id(self, request_id: RequestId, arguments: dict[str, Any]) -> str:
        """The `message_id` of the run that the request starts. Its beginning is `prefix(request_id)`."""
        said = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:16]
        return f"{self.prefix(request_id)}{said}"

    def prefix(self, request_id: RequestId) -> str:
        return f"mcp-{self.mark(request_id)}-"

    def chat_session(self, request_id: RequestId, arguments: dict[str, Any]) -> str:
        """The session in which the run is: the one that the call names, or one of its own."""
        named = arguments.get("session_id")
        return named if isinstance(named, str) and named else f"mcp-{self.mark(request_id)}"

"""One request of an MCP client: its caller, and the names by which any instance finds its run again.

Nothing is kept between requests. All that a later one needs is in the ids that the client sends, and in the row of the
run, so any request may reach any instance.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from django.core.signing import BadSignature, Signer
from django.utils.crypto import salted_hmac

from agents_app.access.callers import Caller
from agents_app.mcp_server.resumption import RequestId, ResumePoint

_SALT = "agents_app.mcp_server"
_RANDOM_KEY_SIZE = 20  # bytes
_HANDSHAKE_REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


def new_session(user: Any) -> str:
    """Return an `Mcp-Session-Id` for this user, signed, so that every instance accepts it."""
    return Signer(salt=_SALT).sign(f"{user.pk}.{secrets.token_hex(16)}")


def is_session_of(user: Any, session: str) -> bool:
    """Return whether this server made the session for this user."""
    try:
        return Signer(salt=_SALT).unsign(session).split(".")[0] == str(user.pk)
    except BadSignature:
        return False


@dataclass(slots=True)
class McpRequest:
    """One request.

    `session` is the client's MCP session, or empty. `revision` is that of the protocol. `resume_point` is set if the
    request continues an earlier call. `takes_events`: the client accepts a stream of events. `is_disconnected`: the
    client has closed the connection. `base_url`: under which the client knows this server.
    """

    caller: Caller
    session: str = ""
    revision: str = ""
    resume_point: ResumePoint | None = None
    takes_events: bool = True
    is_disconnected: bool = False
    base_url: str = ""
    _random_key: str = field(default_factory=lambda: secrets.token_hex(_RANDOM_KEY_SIZE))

    @property
    def user(self) -> Any:
        return self.caller.user

    @property
    def disconnect_cancels(self) -> bool:
        """Whether the client cancels its request by closing the connection.

        In revisions with a handshake `notifications/cancelled` cancels, and a lost connection means nothing.
        """
        return bool(self.revision) and self.revision not in _HANDSHAKE_REVISIONS

    @property
    def accepts_empty_events(self) -> bool:
        """Whether the client accepts an event that has an id and no message. Older clients fail at it."""
        return self.revision == _HANDSHAKE_REVISIONS[-1]

    @property
    def knows_resource_links(self) -> bool:
        """Whether the client knows links in results. Earlier revisions have none, nor the header with the revision."""
        return self.revision not in ("", *_HANDSHAKE_REVISIONS[:2])

    def idempotency_key(self, request_id: RequestId) -> str:
        """Return the key of the request `request_id`: the same if the client's session sends it again.

        Without a session every request has a key of its own.
        """
        if not self.session:
            return self._random_key
        return salted_hmac(_SALT, f"{self.session}:{json.dumps(request_id)}").hexdigest()

    def message_id(self, request_id: RequestId, arguments: dict[str, Any]) -> str:
        """Return the `message_id` of the run that the request starts. It begins with `message_id_prefix`."""
        digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:16]
        return f"{self.message_id_prefix(request_id)}{digest}"

    def message_id_prefix(self, request_id: RequestId) -> str:
        return f"mcp-{self.idempotency_key(request_id)}-"

    def chat_session(self, request_id: RequestId, arguments: dict[str, Any]) -> str:
        """Return the session of the run: the one that the call names, or one of its own."""
        name = arguments.get("session_id")
        return name if isinstance(name, str) and name else f"mcp-{self.idempotency_key(request_id)}"

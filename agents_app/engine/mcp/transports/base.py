"""What the transports share."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from mcp.shared.jsonrpc_dispatcher import ReadStream, WriteStream
from mcp.shared.message import SessionMessage

LARGEST_MESSAGE = 24 * 1024 * 1024  # bytes: a result of 16 MiB as base64, and room for the rest

# JSON-RPC errors that our transports send in place of an answer.
TOO_LARGE = -31900
NOT_DELIVERED = -31901  # the request certainly had no effect; the message is the end of a sentence
BROKEN = -31902  # it may have had one
SESSION_LOST = -31903  # the server forgot the session: the request had no effect, and a new session would take it
SESSION_DOUBTFUL = -31904  # it may have done so; if not, the error is the one of the code in `data`
OWN_CODES = range(SESSION_DOUBTFUL, TOO_LARGE + 1)

NO_ANSWER = "its answer breaks the rules of the protocol"

Streams = tuple[ReadStream[SessionMessage | Exception], WriteStream[SessionMessage]]


class ConnectFailed(Exception):
    """No connection can be made. The text says why, as the end of a sentence that begins with the server."""


class Transport(Protocol):
    """A way to a server. The task that opens it must close it."""

    def open(self) -> AbstractAsyncContextManager[Streams]: ...

    async def end_reason(self) -> str:
        """Return why the connection ended, as the end of a sentence; empty if unknown."""
        ...

    @property
    def last_log_line(self) -> str:
        """The last line that the server wrote outside the protocol."""
        ...

    @property
    def refused(self) -> tuple[str, ...]:
        """The first hosts that the server tried to reach from its sandbox and may not, each with the reason."""
        ...

    def abandon(self, request_id: int) -> bool:
        """Stop waiting for a cancelled request. Returns whether the connection must end to stop it."""
        ...

"""What the transports have in common."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from mcp.shared.jsonrpc_dispatcher import ReadStream, WriteStream
from mcp.shared.message import SessionMessage

LARGEST_MESSAGE = 24 * 1024 * 1024  # bytes: a result of 16 MiB as base64, with room for the rest

# JSON-RPC errors that our transports put in the place of an answer.
TOO_LARGE = -31900
NOT_DELIVERED = -31901  # the request surely had no effect; the message is the end of a sentence
BROKEN = -31902  # it may have had one
SESSION_LOST = -31903  # the server has forgotten us: the request had no effect, and a new session would take it

Streams = tuple[ReadStream[SessionMessage | Exception], WriteStream[SessionMessage]]


class Unusable(Exception):
    """There is no connection to be had; the text says why, as the end of a sentence that begins with the server."""


class Transport(Protocol):
    """A way to a server. It must be left in the task that entered it."""

    def open(self) -> AbstractAsyncContextManager[Streams]: ...

    async def why(self) -> str:
        """Why the connection ended, as the end of a sentence; empty where nobody knows."""
        ...

    @property
    def last_words(self) -> str:
        """What the server last said beside the protocol."""
        ...

    def forsake(self, request_id: int) -> bool:
        """A request was cancelled and not answered. Returns whether the connection has to end for its sake."""
        ...

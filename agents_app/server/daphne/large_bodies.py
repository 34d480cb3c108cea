"""Large bodies of requests reach the application in pieces, as it takes them.

daphne alone puts the whole body into the application's queue at once: 32 MiB in memory for each upload, and other
streams wait meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import IO, Any

LARGE = 256 * 1024  # bytes
_PIECE = 64 * 1024  # bytes

Receive = Callable[[], Awaitable[dict[str, Any]]]


class LargeBody:
    """The file into which Twisted has written a body, and the application's way to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0)

    def receive_by(self, receive: Receive) -> Receive:
        """Return the application's `receive`. daphne's own first message is the empty body in this one's place."""
        is_first, is_over = True, False

        async def receive_piece() -> dict[str, Any]:
            nonlocal is_first, is_over
            if is_over:
                return await receive()
            if is_first:
                message = await receive()
                if message["type"] != "http.request":
                    return message
                is_first = False
            else:
                await asyncio.sleep(0)  # others' tokens come first
            piece = self._file.read(_PIECE)
            is_over = len(piece) < _PIECE
            return {"type": "http.request", "body": piece, "more_body": not is_over}

        return receive_piece

    def close(self) -> None:
        self._file.close()

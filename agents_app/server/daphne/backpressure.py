"""Wait for slow clients: how much of what we sent is still unread."""

import asyncio
import time
from typing import Any

from twisted.internet import tcp

STALLED = 100.0  # seconds that a client may leave its socket unread
_MOST_UNSENT = 256 * 1024  # bytes


class Writable:
    """A push producer of Twisted that tracks whether a transport's buffer has room."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.ready.set()

    def pauseProducing(self) -> None:
        self.ready.clear()

    def resumeProducing(self) -> None:
        self.ready.set()

    def stopProducing(self) -> None:
        self.ready.set()


def text_frame(payload: bytes) -> bytes:
    """An unmasked text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def write_now(transport: Any, data: bytes) -> None:
    idle = type(transport) is tcp.Server and transport.connected and not transport.disconnecting
    if idle and not transport.dataBuffer and not transport._tempDataBuffer:
        try:
            sent = transport.socket.send(data)
        except OSError:  # full or closed: Twisted handles both
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


async def http_writable(protocol: Any) -> None:
    """Wait while an HTTP client does not read its response: otherwise Twisted keeps all of it in memory."""
    deadline = time.monotonic() + STALLED
    while unsent(protocol.channel) > _MOST_UNSENT:
        if time.monotonic() > deadline:
            protocol.channel.transport.abortConnection()
            return
        await asyncio.sleep(0.05)


def unsent(channel: Any) -> int:
    """Return how many bytes of an HTTP connection its client has not read; `channel` is None if it is lost."""
    transport = getattr(channel, "transport", None)
    transport = getattr(transport, "_producer", transport)  # HTTPChannel wraps it
    return len(getattr(transport, "dataBuffer", b"")) + getattr(transport, "_tempDataLen", 0)

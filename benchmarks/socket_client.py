"""A WebSocket client that costs little, so that a benchmark measures the server and not itself."""

import asyncio
import base64
import os
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import orjson


class SocketClient(asyncio.Protocol):
    """Calls `on_text(payload, received_ns)` for each text frame. Server frames are never fragmented by us."""

    def __init__(self, url: str, on_text: Callable[[bytes, int], None]) -> None:
        self._url = urlsplit(url)
        self._on_text = on_text
        self._buffer = bytearray()
        self._upgraded = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.bytes = 0

    @classmethod
    async def connect(cls, url: str, on_text: Callable[[bytes, int], None]) -> "SocketClient":
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(url, on_text), parts.hostname, parts.port)
        await client.opened
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        target = f"{self._url.path}?{self._url.query}" if self._url.query else self._url.path
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(  # type: ignore[attr-defined]
            f"GET {target} HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.opened, self.closed):
            if not future.done():
                future.set_result(None)

    def data_received(self, data: bytes) -> None:
        now = time.time_ns()
        self.bytes += len(data)
        buffer = self._buffer
        buffer += data
        if not self._upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert buffer.startswith(b"HTTP/1.1 101"), bytes(buffer[:end])
            del buffer[: end + 4]
            self._upgraded = True
            self.opened.set_result(None)
        at, size = 0, len(buffer)
        while size - at >= 2:
            length, header = buffer[at + 1], 2
            if length == 126:
                if size - at < 4:
                    break
                length, header = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
            elif length == 127:
                if size - at < 10:
                    break
                length, header = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
            if size - at < header + length:
                break
            payload = bytes(buffer[at + header : at + header + length])
            opcode = buffer[at] & 15
            at += header + length
            if opcode == 1:
                self._on_text(payload, now)
            elif opcode == 9:
                self._send_frame(10, payload)
            elif opcode == 8:
                self.transport.close()
        del buffer[:at]

    def send(self, kind: str, **payload: object) -> None:
        self._send_frame(1, orjson.dumps({"type": kind, "payload": payload}))

    def _send_frame(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self.transport.write(bytes((0x80 | opcode,)) + length + b"\0\0\0\0" + payload)  # type: ignore[attr-defined]

    def pause(self) -> None:
        """Stop reading from the socket."""
        self.transport.pause_reading()  # type: ignore[attr-defined]

    def resume(self) -> None:
        self.transport.resume_reading()  # type: ignore[attr-defined]

    def close(self) -> None:
        self.transport.close()

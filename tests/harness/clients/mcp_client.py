"""The official MCP client on our own server, and one by hand that misbehaves."""

import asyncio
import contextlib
import http.client
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

MODERN, LEGACY = "2026-07-28", "legacy"
LONGEST = 240  # seconds


@contextlib.asynccontextmanager
async def client(url: str, *, token: str = "", mode: str = LEGACY) -> AsyncIterator[Client]:
    """A client of the server at `url`, in one of the protocol's two eras."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=LONGEST) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as connected,
    ):
        yield connected


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Play a story; every wait in it has an end."""

    async def limited() -> None:
        async with asyncio.timeout(LONGEST):
            await story()

    asyncio.run(limited())


class Progress:
    """What a call tells while it goes on; `seen(text)` waits for a line."""

    def __init__(self) -> None:
        self.numbers: list[float] = []
        self.lines: list[str] = []
        self._news = asyncio.Condition()

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        async with self._news:
            self.numbers.append(progress)
            self.lines.append(message or "")
            self._news.notify_all()

    async def seen(self, text: str) -> str:
        """The first line with this text in it."""
        async with self._news:
            await self._news.wait_for(lambda: any(text in line for line in self.lines))
        return next(line for line in self.lines if text in line)


class Raw:
    """A client that speaks HTTP by hand, to hang up where an orderly one would not."""

    def __init__(self, product: Any, *, version: str = "2025-11-25") -> None:
        self.product = product
        self._open: list[Any] = []
        self.headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        self.headers["MCP-Protocol-Version"] = version
        if product.token:
            self.headers["Authorization"] = f"Bearer {product.token}"
        about = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        answer = self.send("POST", {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about})
        self.headers["Mcp-Session-Id"] = answer.headers["Mcp-Session-Id"]
        answer.read()

    def send(self, method: str, body: Any = None, port: int | None = None, **headers: str) -> http.client.HTTPResponse:
        """The answer to one request, of which the stream may still be going on. `port`: of another instance."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.product.port, timeout=60)
        named = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(
            method, "/mcp", body if isinstance(body, bytes) else json.dumps(body) if body else None, named
        )
        answer = connection.getresponse()
        self._open += [answer, connection]
        return answer

    def hang_up(self) -> None:
        """Close all connections, whatever is still to come."""
        while self._open:
            self._open.pop(0).close()

    def call(self, request_id: int, port: int | None = None, **arguments: Any) -> http.client.HTTPResponse:
        """Call `run_agent`."""
        params = {"name": "run_agent", "arguments": arguments, "_meta": {"progressToken": "p"}}
        return self.send(
            "POST", {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}, port=port
        )


def events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """The events of a stream as they come: (id, message or None)."""
    event_id, data = "", None
    for line in response:
        field, _, value = line.decode().rstrip("\r\n").partition(": ")
        if field == "id":
            event_id = value
        elif field == "data":
            data = value
        elif not field and data is not None:
            yield event_id, json.loads(data) if data else None
            data = None

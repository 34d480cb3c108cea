"""Streamable HTTP: the SDK's transport, over our httpx2 transport that reports errors."""

import contextlib
from collections.abc import AsyncIterator

from mcp.client.streamable_http import streamable_http_client

from agents_app.engine.mcp.transports.base import LARGEST_MESSAGE, Streams
from agents_app.engine.mcp.transports.http_errors import ReportingTransport
from agents_app.engine.spec import ServerSpec


class HttpTransport:
    """A server with one URL."""

    last_log_line = ""
    refused: tuple[str, ...] = ()  # nothing of it runs here

    def __init__(self, spec: ServerSpec) -> None:
        self._url = spec.url
        self._http = ReportingTransport(spec, in_body=True)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Streams]:
        """Get ready to send, without a request yet. At the end, tell the server that the session ends."""
        async with (
            self._http.client() as client,
            streamable_http_client(self._url, http_client=client, max_sse_event_size=LARGEST_MESSAGE) as streams,
        ):
            yield streams

    async def end_reason(self) -> str:
        """Return the last problem, as the end of a sentence; empty if there was none."""
        return self._http.problem

    def abandon(self, request_id: int) -> bool:
        """Close the request's stream, which a server may hold open forever."""
        self._http.abort(request_id)
        return False

"""Streamable HTTP: the SDK's transport, over our wire."""

import contextlib
from collections.abc import AsyncIterator

from mcp.client.streamable_http import streamable_http_client

from agents_app.engine.mcp.transports.base import LARGEST_MESSAGE, Streams
from agents_app.engine.mcp.transports.http_errors import Wire
from agents_app.engine.spec import ServerSpec


class HttpTransport:
    """A server behind one address."""

    last_words = ""

    def __init__(self, spec: ServerSpec) -> None:
        self._url = spec.url
        self._wire = Wire(spec, in_body=True)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Streams]:
        """Be ready to send; the server is not asked anything yet. At the end, it is told that the session ends."""
        async with (
            self._wire.client() as client,
            streamable_http_client(self._url, http_client=client, max_sse_event_size=LARGEST_MESSAGE) as streams,
        ):
            yield streams

    async def why(self) -> str:
        """What last went wrong, as the end of a sentence; empty where nothing did."""
        return self._wire.problem

    def forsake(self, request_id: int) -> bool:
        """Close the request's stream, which a server may hold open for ever."""
        self._wire.abort(request_id)
        return False

"""What the clients of all SDKs for models share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, Self

import aiohttp
import httpx2

from agents_app.engine.providers import errors
from agents_app.engine.spec import ModelSpec
from agents_app.engine.tls import ssl_context
from agents_app.engine.web import metadata_guard
from agents_app.exceptions import ModelError
from agents_app.per_loop import per_loop

TIMEOUT = httpx2.Timeout(connect=10.0, read=180.0, write=30.0, pool=30.0)
LIMITS = httpx2.Limits(max_connections=4000, max_keepalive_connections=200, keepalive_expiry=30.0)
# Building a request blocks the event loop for 1.6 ms: more than a few at once would stall all other streams.
MAX_STARTS = 8


def require_stream(content_type: str) -> None:
    """Check that the response is not a web page.

    Raises:
        ModelError: it is one.
    """
    if content_type.startswith("text/html"):
        raise ModelError(
            "The model's server answered with a web page: is the provider's base_url right?",
            code="model_bad_answer",
        )


def reads(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Iterate over reads of the socket: by aiohttp's own reader if possible, at two thirds of the cost."""
    reader = getattr(getattr(getattr(response, "stream", None), "_stream", None), "_aiohttp_response", None)
    if reader is not None and not response.headers.get("content-encoding"):
        return reader.content.iter_any()
    return response.aiter_bytes()


def http_client(kind: type[httpx2.AsyncClient]) -> httpx2.AsyncClient:
    """Return the SDK's HTTP client over aiohttp, which follows no redirect and connects to no cloud's credentials.

    Keys, headers and the conversation stay at the address that was set.
    """
    client = kind(limits=LIMITS, timeout=TIMEOUT, verify=ssl_context(), follow_redirects=False)
    transport: Any = client._transport
    transport.client = _session  # else the transport makes a session that connects to everything
    return client


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=LIMITS.max_connections or 0,
        keepalive_timeout=LIMITS.keepalive_expiry,
        ssl=ssl_context(),
        socket_factory=metadata_guard.socket_factory,
    )
    return aiohttp.ClientSession(connector=connector)


class SharedModel:
    """A server of models, and the connections to it. `_client` is the SDK's."""

    _shared: ClassVar[Callable[[], dict[tuple[Any, ...], Any]]]  # of this event loop; each kind has its own
    _client: Any
    _create: Callable[..., Any]  # makes a request and returns a context manager of its response
    _connection_error: ClassVar[type[Exception]]

    def __init_subclass__(cls) -> None:
        cls._shared = per_loop(dict)

    def __init__(self, spec: ModelSpec) -> None:
        self._secrets = errors.secrets_among([spec.api_key, *dict(spec.headers).values()])
        self._starts = asyncio.Semaphore(MAX_STARTS)

    @classmethod
    def shared(cls, spec: ModelSpec) -> Self:
        """Return the model for `spec`, made once per server, key and event loop: a client costs 25 ms."""
        models = cls._shared()
        key = (spec.base_url, spec.api_key, spec.headers)
        if key not in models:
            models[key] = cls(spec)
        return models[key]

    @classmethod
    async def close_all(cls) -> None:
        """Close the connections of every model of this event loop."""
        shared = cls._shared()
        models = list(shared.values())
        shared.clear()
        for model in models:
            await model._client.close()

    async def _open(self, stack: contextlib.AsyncExitStack, arguments: dict[str, Any]) -> Any:
        """Send a request and return its response, which stays open until the stack is closed."""
        async with self._starts:
            try:
                return await stack.enter_async_context(self._create(**arguments))
            except self._connection_error as error:
                if not errors.was_disconnected(error):
                    raise
                # Most likely the server just closed an idle connection: not worth a visible retry.
                return await stack.enter_async_context(self._create(**arguments))

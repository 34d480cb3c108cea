"""How we talk to the servers of models, whichever SDK makes the request."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, Self

import httpx2

from agents_app.engine.providers import errors
from agents_app.engine.spec import ModelSpec
from agents_app.exceptions import ModelError

TIMEOUT = httpx2.Timeout(connect=10.0, read=180.0, write=30.0, pool=30.0)
LIMITS = httpx2.Limits(max_connections=4000, max_keepalive_connections=200, keepalive_expiry=30.0)
# Building a request keeps the loop for 1.6 ms: more than a few at once would stall the tokens of all others.
STARTS_AT_ONCE = 8


def require_stream(content_type: str) -> None:
    """See that the answer is no web page.

    Raises:
        ModelError: it is one.
    """
    if content_type.startswith("text/html"):
        raise ModelError(
            "The model's server answered with a web page: is the provider's base_url right?",
            code="model_bad_answer",
        )


def reads(response: httpx2.Response) -> AsyncIterator[bytes]:
    """What each read of the socket brings: from aiohttp's own reader where it can be had, at two thirds the cost."""
    reader = getattr(getattr(getattr(response, "stream", None), "_stream", None), "_aiohttp_response", None)
    if reader is not None and not response.headers.get("content-encoding"):
        return reader.content.iter_any()
    return response.aiter_bytes()


class SharedModel:
    """One server of models, and the connections to it, whichever SDK's `_client` makes the requests."""

    _shared: ClassVar[dict[tuple[Any, ...], Any]]  # each kind has its own
    _client: Any
    _create: Callable[..., Any]  # makes a request, and gives a context manager of its response
    _connection_error: ClassVar[type[Exception]]

    def __init_subclass__(cls) -> None:
        cls._shared = {}

    def __init__(self, spec: ModelSpec) -> None:
        self._secrets = errors.secrets_among([spec.api_key, *dict(spec.headers).values()])
        self._starts = asyncio.Semaphore(STARTS_AT_ONCE)

    @classmethod
    def shared(cls, spec: ModelSpec) -> Self:
        """The model for `spec`, made once for each server, key and event loop: a client costs 25 ms."""
        key = (spec.base_url, spec.api_key, spec.headers, id(asyncio.get_running_loop()))
        if key not in cls._shared:
            cls._shared[key] = cls(spec)
        return cls._shared[key]

    @classmethod
    async def close_all(cls) -> None:
        """Close the connections of every model of this process."""
        models = list(cls._shared.values())
        cls._shared.clear()
        for model in models:
            await model._client.close()

    async def _open(self, stack: contextlib.AsyncExitStack, asked: dict[str, Any]) -> Any:
        """The response to a request, open until the stack is left."""
        async with self._starts:
            try:
                return await stack.enter_async_context(self._create(**asked))
            except self._connection_error as error:
                if not errors.was_disconnected(error):
                    raise
                # Most likely an idle connection that the server closed just now: not worth a visible retry.
                return await stack.enter_async_context(self._create(**asked))

"""What the clients of all SDKs for models share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import aiohttp
import httpx2

from agents_app.background import spawn
from agents_app.engine.providers import errors, model_windows, request_body
from agents_app.engine.spec import ModelSpec
from agents_app.engine.tls import ssl_context
from agents_app.engine.web import metadata_guard
from agents_app.exceptions import ModelError
from agents_app.per_loop import per_loop

TIMEOUT = httpx2.Timeout(connect=10.0, read=180.0, write=30.0, pool=30.0)
LIMITS = httpx2.Limits(max_connections=4000, max_keepalive_connections=200, keepalive_expiry=30.0)
# Seconds of a response without any byte, and without a part of the answer: heartbeats are life, but not for ever.
MAX_QUIET = 180.0
MAX_WITHOUT_PARTS = 600.0
CHECK_INTERVAL = 5.0
WINDOW_INTERVAL = 3600.0  # seconds between two questions for the window of a model
GRACE = 2.0  # seconds for the usage after the end of the answer
# Building a request blocks the event loop for 1.6 ms: more than a few at once would stall all other streams.
MAX_STARTS = 8
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


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


class Watch:
    """Watches over the reads of a response, which heartbeats, or a broken encoding, can keep open for ever.

    Count each read, and each one that had parts. The reads end by a `TimeoutError`, and soon after `end_soon`.
    """

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        reader = getattr(getattr(getattr(response, "stream", None), "_stream", None), "_aiohttp_response", None)
        self._content: aiohttp.StreamReader | None = None
        if reader is not None and not response.headers.get("content-encoding"):
            self._content = reader.content
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_ending = False
        self.reads_so_far = self.parts_so_far = 0
        self._last = (0, 0)
        self._quiet = self._without_parts = 0.0

    def reads(self) -> AsyncIterator[bytes]:
        """Iterate over reads of the socket: by aiohttp's own reader if possible, at two thirds of the cost."""
        return self._content.iter_any() if self._content is not None else self._response.aiter_bytes()

    def end_soon(self) -> None:
        """Wait a little for the usage, which may follow the end of an answer, and no longer."""
        if not self._is_ending:
            self._is_ending = True
            self._set_timer(GRACE, self._end)

    def __enter__(self) -> Self:
        self._set_timer(CHECK_INTERVAL, self._check)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._timer:
            self._timer.cancel()

    def _set_timer(self, delay: float, callback: Callable[[], None]) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, callback)

    def _check(self) -> None:
        reads, parts = self._last
        self._quiet = 0.0 if self.reads_so_far > reads else self._quiet + CHECK_INTERVAL
        self._without_parts = 0.0 if self.parts_so_far > parts else self._without_parts + CHECK_INTERVAL
        self._last = (self.reads_so_far, self.parts_so_far)
        if self._quiet >= MAX_QUIET or self._without_parts >= MAX_WITHOUT_PARTS:
            self._end()
        else:
            self._set_timer(CHECK_INTERVAL, self._check)

    def _end(self) -> None:
        if self._content is not None:
            self._content.set_exception(TimeoutError())


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
    _path: ClassVar[str]  # below the server's address
    _stream_class: ClassVar[Any]  # the SDK's
    _connection_error: ClassVar[type[Exception]]

    def __init_subclass__(cls) -> None:
        cls._shared = per_loop(dict)

    def __init__(self, spec: ModelSpec) -> None:
        self._secrets = errors.secrets_among([spec.api_key, *dict(spec.headers).values()])
        self._starts = asyncio.Semaphore(MAX_STARTS)
        self._spec = spec
        self._base_url = spec.base_url
        self._learned: dict[str, float] = {}  # when the server was asked for the window of a model

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

    def _learn_window(self, model: str) -> None:
        """Ask the server for the window of a model, beside the request: the next run will know it."""
        now = asyncio.get_running_loop().time()
        if now >= self._learned.get(model, 0.0):
            self._learned[model] = now + WINDOW_INTERVAL
            spawn(model_windows.learn(self._client, self._base_url, model))

    async def _open(
        self,
        stack: contextlib.AsyncExitStack,
        body: bytes | request_body.Body,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> httpx2.Response:
        """Send a request and return its response, which stays open until the stack is closed."""
        async with self._starts:
            try:
                return await stack.enter_async_context(self._post(body, headers))
            except self._connection_error as error:
                if not errors.was_disconnected(error):
                    raise
                # Most likely the server just closed an idle connection: not worth a visible retry.
                return await stack.enter_async_context(self._post(body, headers))
            finally:
                if isinstance(body, request_body.Body):
                    body.release()

    @contextlib.asynccontextmanager
    async def _post(
        self, body: bytes | request_body.Body, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx2.Response]:
        """Send a body that is encoded already, by the SDK's address, authentication, connections and typed errors."""
        if isinstance(body, request_body.Body):
            headers = {**headers, "Content-Length": str(body.size)}
        stream = await self._client.post(
            self._path,
            cast_to=object,
            content=body,
            options={"headers": {"Content-Type": "application/json", **headers}},
            stream=True,
            stream_cls=self._stream_class,
        )
        try:
            yield stream.response
        finally:
            await stream.close()

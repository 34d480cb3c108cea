"""An HTTP client for URLs that a model or a user chose, and the addresses that it may connect to.

A name is resolved once, every address is checked, and the connection goes to one of them: another lookup could return
another address.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Iterable

import httpcore2
import httpx2
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream

from agents_app.engine import tls
from agents_app.engine.web.address_rules import (
    AddressRefused,
    check_host,
    is_allowed,
    literal_address,
    require_allowed,
)
from agents_app.engine.web.resolving import Resolve

__all__ = ["AddressRefused", "check_url", "guarded_client", "is_allowed"]

_ATTEMPT_TIMEOUT = 3.0  # seconds for one of a host's addresses


def check_url(url: str | httpx2.URL, *, allow_private: bool) -> httpx2.URL:
    """Return the URL if its text is allowed. The addresses of its host are checked when connecting.

    Raises:
        AddressRefused: it is not allowed, or not a URL.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise AddressRefused(f"This is not a URL: {str(error).rstrip('.')[:200]}.") from None
    if parsed.scheme not in ("http", "https"):
        raise AddressRefused("The URL must begin with http:// or https://.")
    if parsed.userinfo:
        raise AddressRefused("The URL must not hold a user name or a password.")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise AddressRefused(f"The URL's port must be from 1 to 65535, not {parsed.port}.")
    check_host(_host(parsed), allow_private)
    return parsed


def _host(url: httpx2.URL) -> str:
    """Return the host in ASCII, without a final dot."""
    return url.raw_host.decode("ascii").removesuffix(".")


class _GuardedNetwork(AsyncNetworkBackend):
    """Opens connections to checked addresses only."""

    def __init__(self, network: AsyncNetworkBackend, resolve: Resolve, allow_private: bool) -> None:
        self._network = network
        self._resolve = resolve
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._addresses(host.removesuffix("."), port)
                for address in addresses[:-1]:
                    try:
                        return await self._network.connect_tcp(
                            address, port, _ATTEMPT_TIMEOUT, local_address, socket_options
                        )
                    except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                        pass
                return await self._network.connect_tcp(addresses[-1], port, None, local_address, socket_options)
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"The host {host!r} did not answer in time.") from None

    async def _addresses(self, host: str, port: int) -> list[str]:
        literal = literal_address(host)
        try:
            texts = [str(literal)] if literal else await self._resolve(host, port)
            addresses = [ipaddress.ip_address(text) for text in texts]
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise httpcore2.ConnectError(f"The name {host!r} cannot be resolved.")
        require_allowed(addresses, host, self._allow_private)
        return [str(address) for address in addresses]


class _GuardedTransport(httpx2.AsyncHTTPTransport):
    """Checks the URL of every request, including redirects, and connects through the guarded network."""

    def __init__(self, network: _GuardedNetwork, allow_private: bool, ssl_context: ssl.SSLContext) -> None:
        # Not `super().__init__()`, which takes no network. Nothing connects without this pool.
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=ssl_context, network_backend=network)
        self._allow_private = allow_private

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host = _host(check_url(request.url, allow_private=self._allow_private))
        if literal_address(host) is None:
            # Certificates name a host without a final dot.
            request.extensions = {**request.extensions, "sni_hostname": host}
        return await super().handle_async_request(request)


def guarded_client(
    *,
    allow_private: bool,
    timeout: float | None,
    resolve: Resolve,
    network: AsyncNetworkBackend | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> httpx2.AsyncClient:
    """Return a client for URLs that a model or a user chose, for `async with`. `timeout`: seconds for each wait.
    `resolve`: looks up names, in the share of whoever chose the URL.

    It uses no proxy and follows no redirect: httpx2 would read each response on the way completely. Requests raise
    `AddressRefused` in addition to httpx2's errors. The caller limits how much it reads.
    """
    guarded = _GuardedNetwork(network or httpcore2.AnyIOBackend(), resolve, allow_private)
    transport = _GuardedTransport(guarded, allow_private, ssl_context or tls.ssl_context())
    return httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False)

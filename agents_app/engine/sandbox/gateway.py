"""The way of a sandbox to the internet: an HTTP proxy that connects to public addresses only, or to listed hosts.

A sandbox has a network of its own with nothing else in it. The proxy listens in that network, but runs here: the
sandbox's launcher sends its listening socket.
"""

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from agents_app import background
from agents_app.engine.toolset import matches
from agents_app.engine.web.address_rules import AddressRefused, check_host, is_allowed, literal_address
from agents_app.engine.web.resolving import Resolver
from agents_app.network import Address, Network, is_loopback, is_network

logger = logging.getLogger("agents_app.sandbox")

PROXY = "http://127.0.0.1:3128"  # as the launcher opens it
MOST_CONNECTIONS = 64  # of one sandbox at a time
MOST_REFUSALS = 20  # that are kept
_RESOLVER = Resolver()
_HEAD_TIMEOUT = 10.0  # seconds
_CONNECT_TIMEOUT = 10.0
_LARGEST_HEAD = 32 * 1024
_CHUNK = 64 * 1024
_MAX_QUOTED = 100  # characters
_HOP_BY_HOP = re.compile(rb"(?im)^(proxy-[a-z-]*|connection|keep-alive)[ \t]*:[^\n]*\n")


class _Refused(Exception):
    """The proxy does not make this connection. The text says why."""


@dataclass(frozen=True, slots=True)
class HostRules:
    """Where a sandbox may connect to: `hosts` are names, patterns of names, addresses and networks; none: anywhere
    in the internet.

    A private address must be in a network of the list, whatever its name. Loopback and link-local ones never are.
    """

    hosts: tuple[str, ...] = ()

    def check_name(self, host: str) -> None:
        """Check what a client asks for.

        Raises:
            AddressRefused: it is not allowed.
        """
        check_host(host, allow_private=True)
        if is_loopback(host):
            raise AddressRefused("loopback")
        literal = literal_address(host)
        if self.hosts and not (self._lists(literal) if literal else matches(host, self.hosts)):
            raise AddressRefused("not in its list of hosts")

    def check_address(self, address: Address) -> None:
        """Check an address that a connection would go to.

        Raises:
            AddressRefused: it is not allowed.
        """
        if is_allowed(address, allow_private=False):
            return
        if is_loopback(str(address)) or not is_allowed(address, allow_private=True) or not self._lists(address):
            raise AddressRefused("not an address in the internet")

    def _lists(self, address: Address) -> bool:
        return any(address in network for network in self._networks())

    def _networks(self) -> list[Network]:
        return [ipaddress.ip_network(host) for host in self.hosts if is_network(host)]


@dataclass(eq=False)
class Gateway:
    """The proxy of one sandbox. `refused`: the first connections that it did not make, each with the reason."""

    name: str
    rules: HostRules
    refused: list[str] = field(default_factory=list)
    _serving: asyncio.Task[None] | None = None

    def start(self, channel: socket.socket) -> None:
        """Serve the listener that comes through the channel, if one does."""
        self._serving = background.spawn(self._serve(channel), name=f"gateway of {self.name}")

    async def close(self) -> None:
        """End all connections."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait([self._serving])

    async def _serve(self, channel: socket.socket) -> None:
        tasks: set[asyncio.Task[None]] = set()
        with channel:
            listener = await _receive(channel)
        if listener is None:  # the command did not start
            return
        loop = asyncio.get_running_loop()
        try:
            while True:
                client, _ = await loop.sock_accept(listener)
                client.setblocking(False)
                if len(tasks) >= MOST_CONNECTIONS:
                    client.close()
                    continue
                task = asyncio.create_task(self._handle(client))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            listener.close()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _handle(self, client: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=client, limit=_LARGEST_HEAD)
        try:
            await self._forward(reader, writer)
        except _Refused as refusal:
            await _answer(writer, "403 Forbidden", str(refusal))
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            await _answer(writer, "502 Bad Gateway", type(error).__name__)
        finally:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_TIMEOUT):
            head = await reader.readuntil(b"\r\n\r\n")
        request = _Request.parse(head)
        far_reader, far_writer = await self._connect(request.host, request.port)
        try:
            if request.is_tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                far_writer.write(request.head)
            await _relay(reader, writer, far_reader, far_writer)
        finally:
            far_writer.close()

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            self.rules.check_name(host)
            addresses = await self._addresses(host, port)
        except AddressRefused as error:
            raise self._refuse(host, port, str(error)) from None
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            reader, writer = await _open_first(addresses, port)
        if writer.get_extra_info("sockname")[0] == writer.get_extra_info("peername")[0]:
            writer.close()
            raise self._refuse(host, port, "an address of this machine")
        return reader, writer

    async def _addresses(self, host: str, port: int) -> list[str]:
        literal = literal_address(host)
        texts = [str(literal)] if literal else await _RESOLVER.of(self.name)(host, port)
        for text in texts:
            self.rules.check_address(ipaddress.ip_address(text))
        return list(texts)

    def _refuse(self, host: str, port: int, reason: str) -> _Refused:
        text = f"{host[:_MAX_QUOTED]}:{port} ({reason.rstrip('.')})"
        if text not in self.refused and len(self.refused) < MOST_REFUSALS:
            self.refused.append(text)
            logger.warning("%s tried to reach %s", self.name, text)
        return _Refused(f"The sandbox does not let you connect to {text}.")


@dataclass(frozen=True, slots=True)
class _Request:
    """What a client asks of a proxy. `head` is what the host gets, unless it is a tunnel."""

    host: str
    port: int
    is_tunnel: bool
    head: bytes = b""

    @classmethod
    def parse(cls, head: bytes) -> "_Request":
        """Parse the head of a request.

        Raises:
            ValueError: it is no request to a proxy.
        """
        line, _, rest = head.partition(b"\r\n")
        method, target, version = line.decode("ascii").split(" ")
        is_tunnel = method == "CONNECT"
        url = urlsplit(f"//{target}" if is_tunnel else target)
        if not url.hostname or (not is_tunnel and url.scheme != "http"):
            raise ValueError("no address of a host")
        port = url.port or (443 if is_tunnel else 80)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        # One request for each connection: the next could be for another host.
        fields = _HOP_BY_HOP.sub(b"", rest[:-2]) + b"Connection: close\r\n\r\n"
        return cls(url.hostname.removesuffix("."), port, is_tunnel, f"{method} {path} {version}\r\n".encode() + fields)


async def _receive(channel: socket.socket) -> socket.socket | None:
    """Return the listening socket that the launcher sends; None if the launcher ends before."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(channel, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(channel)
    with contextlib.suppress(OSError):
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        for descriptor in descriptors:
            listener = socket.socket(fileno=descriptor)
            listener.set_inheritable(False)
            listener.setblocking(False)
            return listener
    return None


async def _open_first(addresses: Sequence[str], port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(address, port, limit=_CHUNK)
    return await asyncio.open_connection(addresses[-1], port, limit=_CHUNK)


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Copy both ways until both sides have said all, or one of them is gone."""
    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(reader, far_writer))
            both.create_task(_copy(far_reader, writer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        target.write(chunk)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


async def _answer(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        writer.write(head.encode() + body)
        await writer.drain()

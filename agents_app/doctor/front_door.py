"""The deployment from outside: requests to the address that users type, through all proxies."""

import asyncio
import contextlib
import datetime
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError, transaction

from agents_app.access.callers import local_administrator
from agents_app.doctor.findings import Finding, broken, ok, one_line, warning
from agents_app.exceptions import AgentError
from agents_app.models import ApiToken, Session
from agents_app.network import is_loopback

_TIMEOUT = 10.0  # seconds for a response
_FIRST_BYTE = 5.0  # seconds; the server sends something at once
_SLOW = 2.0
_SSE = "text/event-stream"
_TOKEN_LIFE = datetime.timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class TemporaryUser:
    """A session to watch, and a token if sign-in is required. Both are deleted afterwards."""

    session_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@contextlib.contextmanager
def temporary_user() -> Iterator[TemporaryUser]:
    """Make a user that sees no data of others. Without sign-in every caller is the administrator.

    Raises:
        DatabaseError, AgentError: the database does not take one.
    """
    name = f"doctor-{secrets.token_hex(6)}"
    user, token = None, ""
    with transaction.atomic():
        if settings.AUTH_REQUIRED:
            user = get_user_model().objects.create_user(name)  # it has no password
            token = ApiToken.objects.create(user, _TOKEN_LIFE, name="doctor")[1]
        session = Session.objects.create(name=name, owner=user or local_administrator(), title="Doctor")
    try:
        yield TemporaryUser(name, token)
    finally:
        with transaction.atomic():
            session.delete()
            if user is not None:
                user.delete()


def examine(url: str, *, idle: float, expected: bool) -> Iterator[Finding]:
    """Run all checks through `url`. A socket is left silent for `idle` seconds.

    `expected` says that a server should answer there: otherwise it is only a warning if none does.
    """
    url = url.rstrip("/")
    try:
        info, seconds = asyncio.run(_fetch_info(url))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        text = f"{url} does not answer: {_describe(error)}."
        if expected:
            yield broken("front door", text, "Start the server or its proxy, or fix the address.")
        else:
            yield warning("front door", text, "Start `manage.py serve`, or set --url if it listens elsewhere.")
        return
    yield from _check_info(url, info, seconds)
    yield from asyncio.run(_together(lambda client: [_readiness(client, url), _page(client, url)]))
    try:
        with temporary_user() as user:
            yield from asyncio.run(
                _together(lambda client: [_first_byte(client, url, user), _socket(client, url, user, idle)])
            )
    except (DatabaseError, AgentError) as error:
        yield warning("streams", f"Not checked: no user could be made for it ({one_line(error)}).")


async def _fetch_info(url: str) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    async with _client() as client, client.get(f"{url}/v1/info") as response:
        if response.status != 200 or response.content_type != "application/json":
            raise ValueError(f"it answers with {response.status}, unlike this product")
        info = await response.json()
    if not isinstance(info, dict) or info.get("name") != settings.PRODUCT_NAME:
        raise ValueError("the server there is not this product")
    return info, time.monotonic() - began


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))


def _describe(error: Exception) -> str:
    return "the time is out" if isinstance(error, TimeoutError) else one_line(error).rstrip(".") or repr(error)


def _check_info(url: str, info: dict[str, Any], seconds: float) -> Iterator[Finding]:
    address = urlsplit(url)
    is_local = is_loopback(address.hostname or "")
    yield ok("front door", f"{url} answers in {seconds * 1000:.0f} ms.")
    if info.get("version") != settings.VERSION:
        text = f"The server has version {info.get('version')}, this command {settings.VERSION}."
        yield warning("front door version", text, "Restart the older one.")
    if not info.get("auth_required") and not is_local:
        text = f"No sign-in is required: everyone who reaches {address.hostname} is an administrator."
        yield broken("open mode", text, "Set AUTH_REQUIRED=true, or serve on 127.0.0.1 only.")
    if address.scheme == "http" and not is_local:
        yield warning("https", "Passwords and tokens are sent unencrypted.", "Serve HTTPS: docs/security.md.")


async def _together(checks: Callable[[aiohttp.ClientSession], list[AsyncIterator[Finding]]]) -> list[Finding]:
    """Run checks at the same time; return their findings in the order of the checks."""
    async with _client() as client:
        groups = await asyncio.gather(*map(_all, checks(client)))
    return [finding for group in groups for finding in group]


async def _all(findings: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in findings]


async def _readiness(client: aiohttp.ClientSession, url: str) -> AsyncIterator[Finding]:
    """Check the readiness that the process reports."""
    try:
        async with client.get(f"{url}/readyz") as response:
            body = await response.json(content_type=None)
            checks = dict(body["checks"])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        yield broken("readiness", f"/readyz cannot be read: {_describe(error)}.", "Let the proxy forward it.")
        return
    wrong = {name: text for name, text in checks.items() if text != "ok"}
    for name, problem in wrong.items():
        yield broken("readiness", f"It says of its {name.replace('_', ' ')}: {one_line(problem)}")
    if not wrong:
        yield ok("readiness", f"Ready: {', '.join(name.replace('_', ' ') for name in checks)}.")


async def _page(client: aiohttp.ClientSession, url: str) -> AsyncIterator[Finding]:
    try:
        async with client.get(f"{url}/{settings.STATIC_URL.lstrip('/')}admin/css/base.css") as response:
            status = response.status
    except (aiohttp.ClientError, TimeoutError) as error:
        yield broken(
            "pages", f"A style sheet cannot be fetched: {_describe(error)}.", "Let the proxy forward /static/."
        )
        return
    if status == 200:
        yield ok("pages", "Scripts and styles are served.")
    else:
        yield broken("pages", f"A style sheet is answered with {status}.", "Let the proxy forward /static/.")


async def _first_byte(client: aiohttp.ClientSession, url: str, user: TemporaryUser) -> AsyncIterator[Finding]:
    """Check that the first bytes of a stream come at once: a proxy may wait for more of them."""
    address = f"{url}/v1/sessions/{user.session_id}/events?after=0"
    began = time.monotonic()
    try:
        async with asyncio.timeout(_FIRST_BYTE):
            async with client.get(address, headers=user.headers | {"Accept": _SSE}) as response:
                if response.status != 200 or response.content_type != _SSE:
                    yield broken("event stream", f"It is answered with {response.status}, {response.content_type}.")
                    return
                await response.content.readany()
    except TimeoutError:
        text = f"No byte came within {_FIRST_BYTE:.0f} s: a proxy buffers responses."
        yield broken("event stream", text, "nginx: proxy_buffering off, and no gzip for text/event-stream.")
        return
    except aiohttp.ClientError as error:
        yield broken("event stream", f"It breaks off: {_describe(error)}.")
        return
    seconds = time.monotonic() - began
    text = f"The first byte came after {seconds * 1000:.0f} ms."
    yield warning("event stream", text, "Is the server overloaded?") if seconds > _SLOW else ok("event stream", text)


async def _socket(client: aiohttp.ClientSession, url: str, user: TemporaryUser, idle: float) -> AsyncIterator[Finding]:
    """Check that a socket opens, answers, and survives silence."""
    address = f"{url.replace('http', 'ws', 1)}/ws/chat/{user.session_id}?after=0"
    began = time.monotonic()
    try:
        async with client.ws_connect(address, headers=user.headers, timeout=_CLOSING) as connection:
            socket = _Socket(connection)
            await socket.expect("connected")
            opened = time.monotonic() - began
            await socket.ping()
            if seconds := await socket.cut_within(idle):
                text = f"While silent, it was cut after {seconds:.0f} s."
                yield broken("websocket", text, "nginx: proxy_read_timeout 90s and proxy_send_timeout 90s for /ws/.")
                return
            await socket.ping()
    except aiohttp.WSServerHandshakeError as error:
        remedy = "nginx: proxy_http_version 1.1, and forward the headers Upgrade and Connection."
        yield broken("websocket", f"It is rejected with {error.status}.", remedy)
        return
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        yield broken("websocket", f"It does not work: {_describe(error)}.", "Let the proxy forward /ws/.")
        return
    yield ok("websocket", f"It opened in {opened * 1000:.0f} ms and survived {idle:g} s of silence.")


_CLOSING = aiohttp.ClientWSTimeout(ws_close=2.0)


class _Socket:
    """A socket that is read all the time, as browsers do: aiohttp closes one that is read only now and then."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._types: asyncio.Queue[str] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._connection:
            if message.type is aiohttp.WSMsgType.TEXT:
                await self._types.put(message.json()["type"])
        await self._types.put("")  # no more will come

    async def expect(self, kind: str) -> None:
        """Wait for a frame of that type.

        Raises:
            TimeoutError, ConnectionError: none arrived.
        """
        async with asyncio.timeout(_TIMEOUT):
            while (received := await self._types.get()) != kind:
                if not received:
                    raise ConnectionError(f"it was closed with code {self._connection.close_code or 1006}")

    async def ping(self) -> None:
        """Send a ping and wait for the pong; raises as `expect`."""
        await self._connection.send_json({"type": "ping", "payload": {}})
        await self.expect("pong")

    async def cut_within(self, seconds: float) -> float:
        """Stay silent for so many seconds; return after how many the connection was cut, or 0."""
        began = time.monotonic()
        done, _ = await asyncio.wait({self._reading}, timeout=seconds)
        return time.monotonic() - began if done else 0.0

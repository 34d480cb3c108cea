"""The deployment from outside: real requests through the address that its users type, proxies and all."""

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
from django.db import DatabaseError

from agents_app.access.callers import local_administrator
from agents_app.database.threads import write_transaction
from agents_app.doctor.findings import Finding, broken, ok, one_line, warning
from agents_app.exceptions import AgentError
from agents_app.models import ApiToken, Session
from agents_app.network import is_loopback

_PATIENCE = 10.0  # seconds for an answer
_FIRST_BYTE = 5.0  # seconds; the server says something at once
_SLOW = 2.0
_SSE = "text/event-stream"
_TOKEN_LIFE = datetime.timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who knocks: a session to watch, and a token where one is needed. Both are gone afterwards."""

    session_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@contextlib.contextmanager
def visitor() -> Iterator[Visitor]:
    """A user who sees nothing of others', for a few requests. In the open mode every caller is the administrator.

    Raises:
        DatabaseError, AgentError: there is no database to make one in.
    """
    name = f"doctor-{secrets.token_hex(6)}"
    user, token = None, ""
    with write_transaction():
        if settings.AUTH_REQUIRED:
            user = get_user_model().objects.create_user(name)  # nobody knows a password: there is none
            token = ApiToken.objects.create(user, _TOKEN_LIFE, name="doctor")[1]
        Session.objects.create(pk=name, owner=user or local_administrator(), title="Doctor")
    try:
        yield Visitor(name, token)
    finally:
        with write_transaction():
            Session.objects.filter(pk=name).delete()
            if user is not None:
                user.delete()


def knock(url: str, *, idle: float, expected: bool) -> Iterator[Finding]:
    """Everything that is asked through the front door. `idle`: seconds that a socket is left alone.

    `expected`: whether somebody said that it is there.
    """
    url = url.rstrip("/")
    try:
        about, seconds = asyncio.run(_about(url))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        text = f"{url} does not answer: {_said(error)}."
        if expected:
            yield broken("front door", text, "Start the server or its proxy, or mend the address.")
        else:
            yield warning("front door", text, "Start `manage.py serve`, or say --url where it listens elsewhere.")
        return
    yield from _known(url, about, seconds)
    yield from asyncio.run(_together(lambda client: [_readiness(client, url), _page(client, url)]))
    try:
        with visitor() as guest:
            yield from asyncio.run(
                _together(lambda client: [_first_byte(client, url, guest), _socket(client, url, guest, idle)])
            )
    except (DatabaseError, AgentError) as error:
        yield warning("streams", f"Not tried: there is no user to try them as ({one_line(error)}).")


async def _about(url: str) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    async with _client() as client, client.get(f"{url}/v1/info") as answer:
        if answer.status != 200 or answer.content_type != "application/json":
            raise ValueError(f"it answers {answer.status}, and not as this product would")
        about = await answer.json()
    if not isinstance(about, dict) or about.get("name") != settings.PRODUCT_NAME:
        raise ValueError("what answers there is not this product")
    return about, time.monotonic() - began


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE))


def _said(error: Exception) -> str:
    return "it takes too long" if isinstance(error, TimeoutError) else one_line(error).rstrip(".") or repr(error)


def _known(url: str, about: dict[str, Any], seconds: float) -> Iterator[Finding]:
    address = urlsplit(url)
    is_local = is_loopback(address.hostname or "")
    yield ok("front door", f"{url} answers in {seconds * 1000:.0f} ms.")
    if about.get("version") != settings.VERSION:
        text = f"What answers has {about.get('version')}, and we are {settings.VERSION}."
        yield warning("front door version", text, "Restart what is older.")
    if not about.get("auth_required") and not is_local:
        text = f"Nobody has to sign in: all who reach {address.hostname} are administrators."
        yield broken("open mode", text, "Set AUTH_REQUIRED=true, or serve on 127.0.0.1 alone.")
    if address.scheme == "http" and not is_local:
        yield warning("https", "Passwords and tokens go over the network in clear.", "Serve HTTPS: docs/security.md.")


async def _together(tried: Callable[[aiohttp.ClientSession], list[AsyncIterator[Finding]]]) -> list[Finding]:
    """Try them at the same time; the findings in the order in which they were given."""
    async with _client() as client:
        found = await asyncio.gather(*map(_all, tried(client)))
    return [finding for group in found for finding in group]


async def _all(findings: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in findings]


async def _readiness(client: aiohttp.ClientSession, url: str) -> AsyncIterator[Finding]:
    """What the process behind the door says of itself."""
    try:
        async with client.get(f"{url}/readyz") as answer:
            body = await answer.json(content_type=None)
            checks = dict(body["checks"])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        yield broken("readiness", f"/readyz cannot be read: {_said(error)}.", "Let the proxy pass it on.")
        return
    wrong = {name: said for name, said in checks.items() if said != "ok"}
    for name, said in wrong.items():
        yield broken("readiness", f"It says of its {name.replace('_', ' ')}: {one_line(said)}")
    if not wrong:
        yield ok("readiness", f"It says ok to {', '.join(name.replace('_', ' ') for name in checks)}.")


async def _page(client: aiohttp.ClientSession, url: str) -> AsyncIterator[Finding]:
    try:
        async with client.get(f"{url}/{settings.STATIC_URL.lstrip('/')}admin/css/base.css") as answer:
            status = answer.status
    except (aiohttp.ClientError, TimeoutError) as error:
        yield broken("pages", f"A style cannot be fetched: {_said(error)}.", "Let the proxy pass /static/ on.")
        return
    if status == 200:
        yield ok("pages", "Scripts and styles are served.")
    else:
        yield broken("pages", f"A style is answered with {status}.", "Let the proxy pass /static/ on.")


async def _first_byte(client: aiohttp.ClientSession, url: str, guest: Visitor) -> AsyncIterator[Finding]:
    """A stream's first bytes come at once, unless somebody on the way waits for more of them."""
    address = f"{url}/v1/sessions/{guest.session_id}/events?after=0"
    began = time.monotonic()
    try:
        async with asyncio.timeout(_FIRST_BYTE):
            async with client.get(address, headers=guest.headers | {"Accept": _SSE}) as answer:
                if answer.status != 200 or answer.content_type != _SSE:
                    yield broken("event stream", f"It is answered with {answer.status}, {answer.content_type}.")
                    return
                await answer.content.readany()
    except TimeoutError:
        text = f"Nothing of it came within {_FIRST_BYTE:.0f} s: a proxy on the way buffers answers."
        yield broken("event stream", text, "nginx: proxy_buffering off, and no gzip for text/event-stream.")
        return
    except aiohttp.ClientError as error:
        yield broken("event stream", f"It breaks off: {_said(error)}.")
        return
    seconds = time.monotonic() - began
    told = f"Its first byte came after {seconds * 1000:.0f} ms."
    yield warning("event stream", told, "Is the server overloaded?") if seconds > _SLOW else ok("event stream", told)


async def _socket(client: aiohttp.ClientSession, url: str, guest: Visitor, idle: float) -> AsyncIterator[Finding]:
    """A socket opens, answers, and is still there after it was left alone."""
    address = f"{url.replace('http', 'ws', 1)}/ws/chat/{guest.session_id}?after=0"
    began = time.monotonic()
    try:
        async with client.ws_connect(address, headers=guest.headers, timeout=_CLOSING) as connection:
            socket = _Socket(connection)
            await socket.expect("connected")
            opened = time.monotonic() - began
            await socket.ping()
            if seconds := await socket.cut_within(idle):
                text = f"Left alone, it was cut after {seconds:.0f} s."
                yield broken("websocket", text, "nginx: proxy_read_timeout 90s and proxy_send_timeout 90s for /ws/.")
                return
            await socket.ping()
    except aiohttp.WSServerHandshakeError as error:
        remedy = "nginx: proxy_http_version 1.1, and pass the headers Upgrade and Connection on."
        yield broken("websocket", f"It is refused with {error.status}.", remedy)
        return
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        yield broken("websocket", f"It does not work: {_said(error)}.", "Let the proxy pass /ws/ on.")
        return
    yield ok("websocket", f"It opened in {opened * 1000:.0f} ms, and stayed while it was left alone for {idle:g} s.")


_CLOSING = aiohttp.ClientWSTimeout(ws_close=2.0)


class _Socket:
    """A socket that is read all the time, as browsers do: aiohttp gives one up that is only read for a while."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._connection:
            if message.type is aiohttp.WSMsgType.TEXT:
                await self._said.put(message.json()["type"])
        await self._said.put("")  # nothing more will come

    async def expect(self, kind: str) -> None:
        """Wait for a frame of that type.

        Raises:
            TimeoutError, ConnectionError: none came.
        """
        async with asyncio.timeout(_PATIENCE):
            while (said := await self._said.get()) != kind:
                if not said:
                    raise ConnectionError(f"it was closed with code {self._connection.close_code or 1006}")

    async def ping(self) -> None:
        """Have the server answer; raises as `expect`."""
        await self._connection.send_json({"type": "ping", "payload": {}})
        await self.expect("pong")

    async def cut_within(self, seconds: float) -> float:
        """Say nothing for so long; after how many seconds somebody hung up, or 0."""
        began = time.monotonic()
        done, _ = await asyncio.wait({self._reading}, timeout=seconds)
        return time.monotonic() - began if done else 0.0

"""Fetch files from addresses that users name, within limits of time, size and network."""

import asyncio
import contextlib
import tempfile
import weakref
from collections.abc import AsyncIterator, Hashable, Mapping
from dataclasses import dataclass, field
from typing import IO

import httpx2
from django.conf import settings

from agents_app.engine.web.guarded_client import AddressRefused, check_url, guarded_client
from agents_app.engine.web.resolving import Resolver
from agents_app.exceptions import InvalidRequest
from agents_app.per_loop import per_loop

TIME_LIMIT = 20.0  # seconds for all files of a request, with the wait for a place
MOST_REDIRECTS = 5
MOST_FILES = 20  # of one request
_AT_ONCE, _AT_ONCE_PER_OWNER = 32, 4
_BUFFER = 1024 * 1024  # bytes that are held in memory
_HEADERS = {"User-Agent": "AInTandem-Agent-MCP-Scheduler (files)", "Accept": "*/*", "Accept-Encoding": "identity"}
_LONGEST_URL = 8192

_resolver = Resolver()


@dataclass(slots=True)
class _Places:
    """The places for downloads: all, and those of each owner who has any in use."""

    all: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    shares: weakref.WeakValueDictionary[Hashable, asyncio.Semaphore] = field(
        default_factory=weakref.WeakValueDictionary
    )

    @contextlib.asynccontextmanager
    async def take(self, owner: Hashable) -> AsyncIterator[None]:
        share = self.shares.setdefault(owner, asyncio.Semaphore(_AT_ONCE_PER_OWNER))
        async with share, self.all:
            yield


_places = per_loop(_Places)


@contextlib.asynccontextmanager
async def fetched(urls: Mapping[str, str], *, owner: Hashable, most_bytes: int) -> AsyncIterator[dict[str, IO[bytes]]]:
    """Fetch the files at these addresses, by the paths of the fields that name them.

    `most_bytes`: of all files together.

    Raises:
        InvalidRequest: one cannot be fetched. Names the field.
    """
    if len(urls) > MOST_FILES:
        path = list(urls)[MOST_FILES]
        raise InvalidRequest(f"'{path}': a request may have at most {MOST_FILES} files by URL.", param=path)
    size = _Size(most_bytes)
    with contextlib.ExitStack() as files:
        targets: dict[str, IO[bytes]] = {path: files.enter_context(tempfile.TemporaryFile()) for path in urls}
        deadline = asyncio.get_running_loop().time() + TIME_LIMIT
        downloads = [_fetch(path, url, targets[path], owner, size, deadline) for path, url in urls.items()]
        problems: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as group:
                for download in downloads:
                    group.create_task(download)
        except* InvalidRequest as errors:  # what is raised here would be put into a group again
            problems.extend(errors.exceptions)
        for problem in problems:
            raise problem
        yield targets


class _Size:
    """Counts the bytes of all files of a request."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0

    def add(self, count: int) -> None:
        self._count += count
        if self._count > self._most:
            raise _Unfetched(f"it is larger than {self._most:,} bytes, which all such files of a request may have.")


class _Unfetched(Exception):
    """Why a file was not fetched, as the end of a sentence."""


async def _fetch(path: str, url: str, target: IO[bytes], owner: Hashable, size: _Size, deadline: float) -> None:
    try:
        async with asyncio.timeout_at(deadline), _places().take(owner):
            await _download(url, target, owner, size)
    except TimeoutError:
        reason = f"it did not arrive within {TIME_LIMIT:g} seconds."
    except (AddressRefused, _Unfetched) as error:
        reason = str(error)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = f"{str(error)[:200] or type(error).__name__}."
    else:
        return
    raise InvalidRequest(f"'{path}' cannot be fetched: {reason}", param=path, code="file_not_fetched")


async def _download(url: str, target: IO[bytes], owner: Hashable, size: _Size) -> None:
    if len(url) > _LONGEST_URL:
        raise _Unfetched("the URL is too long.")
    allow_private = settings.FETCH_ALLOW_PRIVATE
    checked = check_url(url, allow_private=allow_private)
    async with guarded_client(allow_private=allow_private, timeout=None, resolve=_resolver.of(owner)) as client:
        request = client.build_request("GET", checked, headers=_HEADERS)
        for _ in range(MOST_REDIRECTS + 1):
            response = await client.send(request, stream=True)
            async with contextlib.aclosing(response):
                if not response.has_redirect_location:
                    await _store(response, target, size)
                    return
            if response.next_request is None:
                raise _Unfetched("it redirects to an invalid URL.")
            request = response.next_request
    raise _Unfetched(f"it redirects more than {MOST_REDIRECTS} times.")


async def _store(response: httpx2.Response, target: IO[bytes], size: _Size) -> None:
    """Write the body to the file: in a thread, and never more of it in memory than a buffer.

    It is not decompressed: a piece of it could become a thousand times as large.
    """
    if response.status_code != 200:
        raise _Unfetched(f"its server answered {response.status_code}.")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise _Unfetched("its server sends it compressed.")
    buffer = bytearray()
    async with contextlib.aclosing(response.aiter_raw()) as pieces:
        async for piece in pieces:
            size.add(len(piece))
            buffer += piece
            if len(buffer) >= _BUFFER:
                await asyncio.to_thread(target.write, buffer)
                buffer = bytearray()
    await asyncio.to_thread(target.write, buffer)
    await asyncio.to_thread(target.seek, 0)

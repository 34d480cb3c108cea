"""The stdio transport: JSON-RPC, a message a line, with a process of ours.

The SDK's own keeps no bound on a line, tells neither why a process ended nor that it did while a grandchild holds its
pipes, and leaves grandchildren alive where the process itself ends in time.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from agents_app.engine.mcp.json_rpc import message
from agents_app.engine.mcp.transports import process
from agents_app.engine.mcp.transports.base import LARGEST_MESSAGE, TOO_LARGE, Streams
from agents_app.engine.mcp.transports.stderr_log import Chatter, listen
from agents_app.engine.spec import ServerSpec

Incoming = MemoryObjectSendStream[SessionMessage | Exception]

_CHUNK = 256 * 1024
_PARSED_ASIDE = 512 * 1024  # bytes from which parsing a message would keep the event loop
_LAST_WORDS = 0.5  # seconds to read what a process wrote before it ended
_ENDS = 256  # bytes kept of both ends of a line that is too long
_ID = re.compile(rb'"id"\s*:\s*(\d+)')


class StdioTransport:
    """A server's process, as long as the transport is open."""

    def __init__(self, spec: ServerSpec) -> None:
        self._spec = spec
        self._chatter = Chatter(spec)
        self._at_once = False
        self._over = False
        self._child: process.Child | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Streams]:
        """Start the process; at the end, end it with all that it started.

        Raises:
            Unusable: the system does not run it.
        """
        child = self._child = await process.start(self._spec)
        incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        tasks = [
            asyncio.create_task(self._read(child, incoming)),
            asyncio.create_task(self._write(child, outgoing, incoming)),
            asyncio.create_task(listen(child.stderr, self._chatter)),
            asyncio.create_task(self._watch(child, incoming)),
        ]
        try:
            yield read, write
        finally:
            for stream in (read, incoming, write, outgoing):
                stream.close()
            try:
                await child.end(at_once=self._at_once)
                await asyncio.wait(tasks[:3], timeout=_LAST_WORDS)  # what was written before the end
            finally:
                for task in tasks:
                    task.cancel()
            await asyncio.wait(tasks, timeout=1)

    async def why(self) -> str:
        """Why the connection ended, as the end of a sentence; empty where it did not."""
        if self._child is None or not self._over:
            return ""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._child.exited.wait(), _LAST_WORDS)
        return self._child.ending

    @property
    def last_words(self) -> str:
        """The last line that the server logged."""
        return self._chatter.last

    def forsake(self, request_id: int) -> bool:
        """There is no way to know whether a server works on what was cancelled: its process has to end, at once."""
        self._at_once = True
        return True

    async def _read(self, child: process.Child, incoming: Incoming) -> None:
        lines = _Lines()
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while chunk := await child.stdout.read(_CHUNK):
                for line in lines.feed(chunk):
                    said = await self._parse(line)
                    if said is not None:
                        await incoming.send(SessionMessage(said))
        self._end(incoming)
        while await child.stdout.read(_CHUNK):  # a process that waits for its reader would not end
            pass

    async def _parse(self, line: "bytes | _TooLong") -> types.JSONRPCMessage | None:
        if isinstance(line, _TooLong):
            return line.answer()
        try:
            if len(line) > _PARSED_ASIDE:
                return await asyncio.to_thread(message, line)
            return message(line)
        except ValueError:
            self._chatter.line(b"(not a message of the protocol) " + line[: 8 * 1024])
            return None

    async def _write(
        self,
        child: process.Child,
        outgoing: MemoryObjectReceiveStream[SessionMessage],
        incoming: Incoming,
    ) -> None:
        try:
            async for item in outgoing:
                child.stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await child.stdin.drain()
        except (OSError, anyio.ClosedResourceError):
            self._end(incoming)  # nobody would answer what waits

    async def _watch(self, child: process.Child, incoming: Incoming) -> None:
        """End the connection with the process, even where somebody else holds its pipes."""
        await child.exited.wait()
        await asyncio.sleep(_LAST_WORDS)
        self._end(incoming)

    def _end(self, incoming: Incoming) -> None:
        self._over = True
        incoming.close()


class _TooLong:
    """A line that was not kept, but for its ends: one of them has the id of the request that it answers."""

    def __init__(self, head: bytes, tail: bytes) -> None:
        self._head, self._tail = head, tail

    def answer(self) -> types.JSONRPCMessage | None:
        first = _ID.search(self._head.partition(b'"result"')[0])
        last = first or next(reversed(list(_ID.finditer(self._tail))), None)
        if last is None:
            return None
        error = types.ErrorData(code=TOO_LARGE, message="The answer is too large.")
        return types.JSONRPCError(jsonrpc="2.0", id=int(last.group(1)), error=error)


class _Lines:
    """Makes lines of chunks."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._head: bytes | None = None

    def feed(self, chunk: bytes) -> Iterator["bytes | _TooLong"]:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._add(end)
            yield from self._take()
        self._add(rest)

    def _add(self, part: bytes) -> None:
        if not part:
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > LARGEST_MESSAGE:
            whole = b"".join(self._parts)
            self._head = self._head or whole[:_ENDS]
            self._parts = [whole[-_ENDS:]]
            self._size = len(self._parts[0])

    def _take(self) -> Iterator["bytes | _TooLong"]:
        line, head = b"".join(self._parts), self._head
        self._parts, self._size, self._head = [], 0, None
        if head is not None:
            yield _TooLong(head, line[-_ENDS:])
        elif line.strip():
            yield line

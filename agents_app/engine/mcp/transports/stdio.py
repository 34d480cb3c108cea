"""The stdio transport: JSON-RPC with a process that we start, one message per line.

Instead of the SDK's `stdio_client`; README.md in the folder above says what that lacks.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from agents_app.engine import sandbox
from agents_app.engine.mcp.json_rpc import parse_message
from agents_app.engine.mcp.transports.base import LARGEST_MESSAGE, TOO_LARGE, ConnectFailed, Streams
from agents_app.engine.mcp.transports.stderr_log import StderrLog, log_lines
from agents_app.engine.spec import ServerSpec

Incoming = MemoryObjectSendStream[SessionMessage | Exception]

_CHUNK = 256 * 1024
_PARSE_IN_THREAD = 512 * 1024  # bytes from which parsing a message would block the event loop for too long
_LAST_OUTPUT_TIMEOUT = 0.5  # seconds to read what a process wrote before it ended
_KEEP = 256  # bytes of both ends of a line that is too long
_ID = re.compile(rb'"id"\s*:\s*"?(\d+)')


class StdioTransport:
    """A server's process, while the transport is open."""

    def __init__(self, spec: ServerSpec) -> None:
        self._spec = spec
        self._log = StderrLog(spec)
        self._kill_now = False
        self._has_ended = False
        self._process: sandbox.CommandProcess | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Streams]:
        """Start the process; at the end, kill it and all that it started.

        Raises:
            ConnectFailed: the system does not run it.
        """
        server = self._process = await _start(self._spec)
        incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        tasks = [
            asyncio.create_task(self._read(server, incoming)),
            asyncio.create_task(self._write(server, outgoing, incoming)),
            asyncio.create_task(log_lines(server.stderr, self._log)),
            asyncio.create_task(self._watch(server, incoming)),
        ]
        try:
            yield read, write
        finally:
            for stream in (read, incoming, write, outgoing):
                stream.close()
            try:
                await server.end(now=self._kill_now)
                await asyncio.wait(tasks[:3], timeout=_LAST_OUTPUT_TIMEOUT)  # read what it wrote before the end
            finally:
                for task in tasks:
                    task.cancel()
            await asyncio.wait(tasks, timeout=1)

    async def end_reason(self) -> str:
        """Return why the connection ended, as the end of a sentence; empty if it did not."""
        if self._process is None or not self._has_ended:
            return ""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.exited.wait(), _LAST_OUTPUT_TIMEOUT)
        return self._process.end_reason

    @property
    def last_log_line(self) -> str:
        """The last line that the server logged."""
        return self._log.last

    @property
    def refused(self) -> tuple[str, ...]:
        """The first hosts that the server tried to reach and may not."""
        return self._process.refused if self._process else ()

    def abandon(self, request_id: int) -> bool:
        """Have the process killed: nothing tells whether the server still works on a cancelled request."""
        self._kill_now = True
        return True

    async def _read(self, server: sandbox.CommandProcess, incoming: Incoming) -> None:
        lines = _Lines()
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while chunk := await server.stdout.read(_CHUNK):
                for line in lines.feed(chunk):
                    message = await self._parse(line)
                    if message is not None:
                        await incoming.send(SessionMessage(message))
        self._end(incoming)
        while await server.stdout.read(_CHUNK):  # a process that blocks on a full pipe would not end
            pass

    async def _parse(self, line: "bytes | _TooLong") -> types.JSONRPCMessage | None:
        if isinstance(line, _TooLong):
            return line.answer()
        try:
            if len(line) > _PARSE_IN_THREAD:
                return await asyncio.to_thread(parse_message, line)
            return parse_message(line)
        except ValueError:
            self._log.line(b"(not a protocol message) " + line[: 8 * 1024])
            return None

    async def _write(
        self,
        server: sandbox.CommandProcess,
        outgoing: MemoryObjectReceiveStream[SessionMessage],
        incoming: Incoming,
    ) -> None:
        try:
            async for item in outgoing:
                server.stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await server.stdin.drain()
        except (OSError, anyio.ClosedResourceError):
            self._end(incoming)  # nobody would answer the pending requests

    async def _watch(self, server: sandbox.CommandProcess, incoming: Incoming) -> None:
        """End the connection when the process ends, even if another process holds its pipes."""
        await server.exited.wait()
        await asyncio.sleep(_LAST_OUTPUT_TIMEOUT)
        self._end(incoming)

    def _end(self, incoming: Incoming) -> None:
        self._has_ended = True
        incoming.close()


async def _start(spec: ServerSpec) -> sandbox.CommandProcess:
    command = sandbox.Command(spec.name, spec.command, spec.args, spec.env, spec.folder, spec.limits, spec.sandbox)
    try:
        return await sandbox.start(command)
    except sandbox.CannotStart as error:
        raise ConnectFailed(str(error)) from error


class _TooLong:
    """Both ends of a line that is too long: one of them holds the id of the request that it answers."""

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
    """Joins chunks into lines."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._head: bytes | None = None

    def feed(self, chunk: bytes) -> Iterator["bytes | _TooLong"]:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._add(end)
            yield from self._complete()
        self._add(rest)

    def _add(self, part: bytes) -> None:
        if not part:
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > LARGEST_MESSAGE:
            whole = b"".join(self._parts)
            self._head = self._head or whole[:_KEEP]
            self._parts = [whole[-_KEEP:]]
            self._size = len(self._parts[0])

    def _complete(self) -> Iterator["bytes | _TooLong"]:
        line, head = b"".join(self._parts), self._head
        self._parts, self._size, self._head = [], 0, None
        if head is not None:
            yield _TooLong(head, line[-_KEEP:])
        elif line.strip():
            yield line

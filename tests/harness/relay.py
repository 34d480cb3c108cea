"""A wire between a browser and a server, which can be cut as networks are: at once, or without a word."""

import asyncio
import contextlib
import threading
from typing import Self

PIECE = 64 * 1024


class Relay:
    """Carries bytes from a port of its own to a server's; runs in a thread."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self._silent: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def cut(self) -> None:
        """End every connection, and let nobody in."""
        self._do(self._cut())

    def hush(self) -> None:
        """Carry nothing more on the connections that there are, and tell nobody: as when a phone leaves the house."""
        self._do(self._hush())

    def mend(self) -> None:
        """Let new connections through again."""
        self._refusing = False

    async def _end(self) -> None:
        self._server.close()
        await self._cut()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    async def _cut(self) -> None:
        self._refusing = True
        for writer in self._writers:
            writer.transport.abort()

    async def _hush(self) -> None:
        self._silent |= self._writers

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", self._to)
            pair = {writer, onward}
            self._writers |= pair
            await asyncio.gather(self._pump(reader, onward), self._pump(onward_reader, writer))
            self._writers -= pair

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                if writer not in self._silent:
                    writer.write(piece)
                    await writer.drain()
        writer.close()

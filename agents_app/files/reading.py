"""Read files in pieces, away from the event loop."""

from collections.abc import AsyncIterator

from agents_app.database.threads import DatabaseThreads
from agents_app.files.storage import CHUNK, open_bytes

_threads = DatabaseThreads("files", 4)


async def pieces(key: str, start: int, length: int) -> AsyncIterator[bytes]:
    """Yield `length` stored bytes from `start`.

    Raises:
        FileNotFoundError: they are not in the storage.
    """
    source = await _threads.run(open_bytes, key)
    try:
        await _threads.run(source.seek, start)
        while length > 0 and (piece := await _threads.run(source.read, min(CHUNK, length))):
            length -= len(piece)
            yield piece
    finally:
        source.close()

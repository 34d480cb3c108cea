"""What a server writes beside the protocol: one line of our log for each of its lines, within bounds."""

import asyncio
import logging
import time

from agents_app.engine.mcp.redaction import redacted
from agents_app.engine.spec import ServerSpec

logger = logging.getLogger("agents_app.mcp")

LONGEST_LINE = 2000  # characters
MOST_LINES = 200  # in each window
WINDOW = 10.0  # seconds
_CHUNK = 4 * 1024 * 1024
_PAUSE = 0.02  # seconds between looks at a flood, which would keep the event loop busy


class Chatter:
    """Logs lines of one server; beyond the most they are only counted."""

    def __init__(self, spec: ServerSpec) -> None:
        self.last = ""
        self._spec = spec
        self._since = time.monotonic()
        self._lines = 0
        self._left_out = 0

    @property
    def is_silenced(self) -> bool:
        if time.monotonic() - self._since > WINDOW:
            self.end()
        return self._lines >= MOST_LINES

    def line(self, text: bytes) -> None:
        if self.is_silenced:
            self._left_out += 1
            return
        shown = text[: LONGEST_LINE * 4].decode("utf-8", "replace").strip()
        shown = redacted(shown, self._spec)[:LONGEST_LINE]
        if shown:
            self._lines += 1
            self.last = shown
            logger.info("%s: %s", self._spec.name, shown)

    def leave_out(self, lines: int) -> None:
        self._left_out += lines

    def end(self) -> None:
        """End a window: say how much was left out."""
        if self._left_out:
            logger.info("%s: … %d lines left out", self._spec.name, self._left_out)
        self._since, self._lines, self._left_out = time.monotonic(), 0, 0


async def listen(stream: asyncio.StreamReader, chatter: Chatter) -> None:
    """Log what the stream says, line by line, to its end. Its writer never waits, but for one that writes a flood."""
    rest = b""
    try:
        while chunk := await stream.read(_CHUNK):
            if chatter.is_silenced:
                chatter.leave_out(chunk.count(b"\n"))
                rest = b""
                await asyncio.sleep(_PAUSE)
                continue
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                chatter.line(line)
            if len(rest) > LONGEST_LINE * 4:  # all of it that could be shown
                chatter.line(rest)
                rest = b""
        chatter.line(rest)
    finally:
        chatter.end()

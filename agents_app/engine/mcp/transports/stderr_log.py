"""Log what a server writes to standard error: one log line per line, within bounds."""

import asyncio
import logging
import time

from agents_app.engine.mcp.redaction import redact
from agents_app.engine.spec import ServerSpec

logger = logging.getLogger("agents_app.mcp")

MAX_LINE = 2000  # characters
MAX_LINES = 200  # in each window
WINDOW = 10.0  # seconds
_CHUNK = 4 * 1024 * 1024
_PAUSE = 0.02  # seconds between reads of a flood, which would keep the event loop busy


class StderrLog:
    """Logs the lines of one server; above the limit it only counts them."""

    def __init__(self, spec: ServerSpec) -> None:
        self.last = ""
        self._spec = spec
        self._since = time.monotonic()
        self._lines = 0
        self._dropped = 0

    @property
    def is_full(self) -> bool:
        if time.monotonic() - self._since > WINDOW:
            self.end()
        return self._lines >= MAX_LINES

    def line(self, text: bytes) -> None:
        if self.is_full:
            self._dropped += 1
            return
        line = text[: MAX_LINE * 4].decode("utf-8", "replace").strip()
        line = redact(line, self._spec)[:MAX_LINE]
        if line:
            self._lines += 1
            self.last = line
            logger.info("%s: %s", self._spec.name, line)

    def drop(self, lines: int) -> None:
        self._dropped += lines

    def end(self) -> None:
        """End a window: log how many lines were dropped."""
        if self._dropped:
            logger.info("%s: … %d lines left out", self._spec.name, self._dropped)
        self._since, self._lines, self._dropped = time.monotonic(), 0, 0


async def log_lines(stream: asyncio.StreamReader, log: StderrLog) -> None:
    """Log the stream line by line until its end. Its writer never waits, unless it writes a flood."""
    rest = b""
    try:
        while chunk := await stream.read(_CHUNK):
            if log.is_full:
                log.drop(chunk.count(b"\n"))
                rest = b""
                await asyncio.sleep(_PAUSE)
                continue
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                log.line(line)
            if len(rest) > MAX_LINE * 4:  # more would not be logged
                log.line(rest)
                rest = b""
        log.line(rest)
    finally:
        log.end()

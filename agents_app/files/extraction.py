"""Read foreign files in child processes: text of documents, pages of PDFs, pictures and their scaling.

A child has limits on memory, time and output, a clean environment, and dies with this process. See `child.py`.
"""

import asyncio
import functools
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

_PROGRAM = Path(__file__).with_name("child.py")
_ROOT = _PROGRAM.parents[2]
_TIMEOUT = 20  # seconds
_LIMITS = {
    "RLIMIT_AS": 768 * 2**20,
    "RLIMIT_CPU": _TIMEOUT,
    "RLIMIT_FSIZE": 32 * 2**20,
    "RLIMIT_NOFILE": 64,
    "RLIMIT_CORE": 0,
}
_AT_A_TIME = 2
_PDF = "application/pdf"
_OFFICE = "application/vnd.openxmlformats-officedocument."
READABLE = frozenset(
    {
        _PDF,
        "text/html",
        f"{_OFFICE}wordprocessingml.document",
        f"{_OFFICE}presentationml.presentation",
        f"{_OFFICE}spreadsheetml.sheet",
    }
)  # media types whose text the child extracts

_threads = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="extraction")
_turns = threading.BoundedSemaphore(_AT_A_TIME)  # of threads that are not of this pool


@dataclass(frozen=True, slots=True)
class Result:
    """What a child found out. `problem`: why the file cannot be read, for a model; empty if it can.

    `is_final`: another child would find out the same.
    """

    problem: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    data: bytes = field(default=b"", repr=False)
    is_final: bool = True


async def text(source: IO[bytes], media_type: str, *, most_characters: int) -> Result:
    """Return the text of a document as `data`. `left_out` of the fields names what had no room."""
    return await _run(source, {"job": "text", "media_type": media_type, "most_characters": most_characters})


async def pages(source: IO[bytes]) -> Result:
    """Return the number of a PDF's pages as `pages` of the fields. One that is encrypted is a problem."""
    return await _run(source, {"job": "pages"})


async def picture(source: IO[bytes], *, longest_edge: int, most_bytes: int) -> Result:
    """Return the `media_type` of a picture and its bytes, scaled; without bytes if it fits as it is."""
    return await _run(source, {"job": "picture", "longest_edge": longest_edge, "most_bytes": most_bytes})


def picture_now(source: IO[bytes], *, longest_edge: int, most_bytes: int) -> Result:
    """Return as `picture` does, to a thread that waits: for its turn, as the children of runs do, and for the child."""
    job = {"job": "picture", "longest_edge": longest_edge, "most_bytes": most_bytes}
    if not _turns.acquire(timeout=_TIMEOUT):
        return Result("too many pictures are being read", is_final=False)
    try:
        return _Child(source, job).run()
    finally:
        _turns.release()


async def _run(source: IO[bytes], job: dict[str, Any]) -> Result:
    """Have a child read the file of `source`, which has a file descriptor. Cancelling kills the child."""
    child = _Child(source, job)
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, child.run)
    finally:
        child.kill()


class _Child:
    """One child: started, waited for and killed."""

    def __init__(self, source: IO[bytes], job: dict[str, Any]) -> None:
        self._source = source
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False

    def run(self) -> Result:
        with tempfile.TemporaryFile() as output:
            process = self._process = self._start(output)
            if self._is_killed:
                process.kill()
            try:
                process.wait(_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.kill()
                process.wait()
                return Result("it takes too long to be read", is_final=False)
            output.seek(0)
            header = output.readline(64 * 1024)
            return _result(process.returncode, header, output.read())

    def _start(self, output: IO[bytes]) -> "subprocess.Popen[bytes]":
        job = self._job | {"limits": _LIMITS, "seconds": _TIMEOUT, "path": _module_path()}
        os.lseek(self._source.fileno(), 0, os.SEEK_SET)
        return subprocess.Popen(  # noqa: S603 — our own program
            [sys.executable, "-I", "-S", str(_PROGRAM), str(os.getpid()), orjson.dumps(job).decode()],
            stdin=self._source,
            stdout=output,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"LANG": "C.UTF-8"},
            start_new_session=True,
        )

    def kill(self) -> None:
        """Kill it now, or as soon as it has started. It may have ended already."""
        self._is_killed = True
        if self._process is not None:
            self._process.kill()


def _result(status: int, header: bytes, data: bytes) -> Result:
    try:
        fields = orjson.loads(header)
        return Result(fields.pop("problem", ""), fields, data)
    except (orjson.JSONDecodeError, AttributeError):
        return Result("it needs too much memory or time to be read" if status else "it is broken")


@functools.cache
def _module_path() -> list[str]:
    return [str(_ROOT), *(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))]

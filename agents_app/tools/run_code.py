"""`run_code` runs Python that the model wrote: in a sandbox without a network, in a folder that the session keeps."""

import asyncio
import codecs
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from agents_app.database.threads import DatabaseThreads
from agents_app.engine import sandbox
from agents_app.engine.spec import ProcessLimits, SandboxSpec
from agents_app.engine.toolset import Attachment, Call, Tool, ToolError, ToolResult
from agents_app.models import File, Run
from agents_app.models.sandboxes import hidden_paths
from agents_app.per_loop import per_loop
from agents_app.tools.code_folders import LARGEST_NEW, MOST_BYTES, MOST_NEW, CodeFolder, NewFile

TIME_LIMIT = 120.0  # seconds
AT_ONCE = max(2, os.cpu_count() or 1)  # in one process
LIMITS = ProcessLimits(memory=1024**3, cpu_seconds=240, processes=64, open_files=256, file_size=MOST_BYTES)
_MOST_CODE = 200_000  # characters
_LOOK_INTERVAL = 0.25  # seconds between two looks at the size of the folder, while code runs
_CHUNK = 64 * 1024
_HEAD = 20_000  # characters of the output that the model gets, and as many of its end
_MOST_NAMES = 20
_CODE = ".code.py"
_ENVIRONMENT = (("HOME", "/tmp"), ("MPLBACKEND", "Agg"), ("PYTHONDONTWRITEBYTECODE", "1"))  # noqa: S108 — its own
_database = DatabaseThreads("code", 2)
_places = per_loop(lambda: asyncio.Semaphore(AT_ONCE))
_folders_in_use: Callable[[], "weakref.WeakValueDictionary[str, asyncio.Lock]"] = per_loop(weakref.WeakValueDictionary)


def make_tool(run: Run) -> Tool:
    """Return the tool for one run."""

    async def execute(arguments: dict[str, Any], call: Call) -> ToolResult:
        lock = _folders_in_use().setdefault(run.session_id, asyncio.Lock())
        async with lock, _places():
            return await _execute(run, arguments["code"], call)

    return Tool(
        name="run_code",
        description=(
            "Run Python code in a fresh interpreter, without a network, and return what it prints. The working folder "
            "has the files of this conversation under their names and keeps what code writes; files that code writes "
            "there are shown to the user. Installed packages, such as numpy, pandas and matplotlib, may be imported if "
            f"they are there. Save plots to files. The code has {TIME_LIMIT:g} seconds."
        ),
        parameters={
            "type": "object",
            "properties": {
                "code": {"type": "string", "maxLength": _MOST_CODE, "description": "A Python program. Print results."}
            },
            "required": ["code"],
        },
        call=execute,
        timeout=TIME_LIMIT * 10,  # with the wait for a place
    )


async def _execute(run: Run, code: str, call: Call) -> ToolResult:
    folder = CodeFolder(run.session_id)
    try:
        before = await _database.run(folder.prepare, run.session.owner_id, run.session_id)
        await asyncio.to_thread(_write_code, folder.path, code)
        output, problem = await _run(folder, call)
        if problem == _TOO_LARGE:
            await asyncio.to_thread(folder.discard, before)
        new = await asyncio.to_thread(folder.changes, before)
    except OSError as error:
        raise ToolError(f"The folder of this conversation cannot be used: {error.strerror}.") from None
    except sandbox.CannotStart as error:
        raise ToolError(f"The code was not run: {error}.") from None
    return _result(output, problem, new)


_TOO_LARGE = f"It was stopped, and its new files were deleted: the folder may have {MOST_BYTES // 1024**2} MiB."


def _write_code(folder: Path, code: str) -> None:
    path = folder / _CODE
    if path.is_dir() and not path.is_symlink():
        raise ToolError(f"Rename the folder {_CODE}: the code is stored there.")
    path.unlink(missing_ok=True)
    with path.open("x", encoding="utf-8", errors="replace") as file:
        file.write(code)


async def _run(folder: CodeFolder, call: Call) -> tuple[str, str]:
    """Run the code. Returns what it printed, and why it did not end well; empty if it did."""
    spec = SandboxSpec(network=False, hidden=hidden_paths())
    command = sandbox.Command(
        "run_code", settings.CODE_PYTHON, ("-u", "-s", "-E", _CODE), _ENVIRONMENT, str(folder.path), LIMITS, spec
    )
    process = await sandbox.start(command)
    process.stdin.close()
    output = _Output(call.progress)
    watch = _Watch(folder)
    watching = asyncio.create_task(watch.run(process))
    try:
        async with asyncio.timeout(TIME_LIMIT):
            await asyncio.gather(output.read(process.stdout), output.read(process.stderr))
            await process.exited.wait()
    except TimeoutError:
        return output.text(), f"It was stopped: it took longer than {TIME_LIMIT:g} seconds."
    finally:
        watching.cancel()
        process.kill()
        await process.end(now=True)
    if watch.is_too_large:
        return output.text(), _TOO_LARGE
    return output.text(), "" if process.status == 0 else f"It failed: {process.end_reason}."


class _Watch:
    """Kills the process when it has filled the folder: the system has no limit for a folder."""

    def __init__(self, folder: CodeFolder) -> None:
        self._folder = folder
        self.is_too_large = False

    async def run(self, process: sandbox.CommandProcess) -> None:
        while not self.is_too_large:
            await asyncio.sleep(_LOOK_INTERVAL)
            self.is_too_large = await asyncio.to_thread(self._folder.is_too_large)
        process.kill()


class _Output:
    """What the code prints: shown as it comes, and kept from both ends."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._head, self._tail, self._length = "", "", 0

    async def read(self, stream: asyncio.StreamReader) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while chunk := await stream.read(_CHUNK):
            text = decoder.decode(chunk)
            self._add(text)
            lines, _, rest = (rest + text).rpartition("\n")
            if lines:
                self._show(lines)
            rest = rest[-_CHUNK:]
        if rest:
            self._show(rest)

    def _add(self, text: str) -> None:
        self._length += len(text)
        room = _HEAD - len(self._head)
        self._head += text[:room]
        self._tail = (self._tail + text[room:])[-_HEAD:]

    def text(self) -> str:
        left_out = self._length - len(self._head) - len(self._tail)
        middle = f"\n[… {left_out:,} characters left out …]\n" if left_out else ""
        return f"{self._head}{middle}{self._tail}".rstrip()


def _result(output: str, problem: str, new: list[NewFile]) -> ToolResult:
    returned = [file for file in new if file.data is not None][:MOST_NEW]
    others = [file.name for file in new if file not in returned]
    notes = [output or "[It printed nothing.]"]
    if others:
        more = f" and {len(others) - _MOST_NAMES} more" if len(others) > _MOST_NAMES else ""
        limits = f"only {MOST_NEW} files of up to {LARGEST_NEW // 1024**2} MiB are shown to the user"
        notes.append(f"[in the folder, but {limits}: {', '.join(others[:_MOST_NAMES])}{more}]")
    if problem:
        notes.append(problem)
    attachments = tuple(
        Attachment(File.Kind.GIVEN.value, "application/octet-stream", file.data, file.name)
        for file in returned
        if file.data is not None
    )
    return ToolResult("\n".join(notes), is_error=bool(problem), attachments=attachments)

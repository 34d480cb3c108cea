"""`manage.py serve` with additions for tests: tools whose effects can be counted, and crashes at named points.

A file names the point (`Crashable.crash_at` writes it): a process that passes it ends as by kill -9. The product has no
hook for this: what surrounds a point is wrapped here, before the server starts.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

CRASH, EFFECTS, GRACE = "CRASH_FILE", "EFFECTS_FILE", "GRACE_FILE"

# Where it can crash: the thread, how the statement that was just executed begins, and a word in it.
STATEMENTS = {
    "session-written": ("chat", "INSERT INTO agents_app_session", ""),
    "run-written": ("chat", "INSERT INTO agents_app_run", ""),
    "job-written": ("chat", "\nINSERT INTO procrastinate_jobs", ""),
    "rows-written": ("log-writer", "INSERT INTO agents_app_event", ""),
    "deltas-deleted": ("log-writer", "DELETE FROM agents_app_event", ""),
    "steps-written": ("log-writer", "INSERT INTO agents_app_step", ""),
    "end-written": ("log-writer", "UPDATE agents_app_run", "finished_at"),
    "start-written": ("claims", "INSERT INTO agents_app_event", ""),
    "upload-begun": ("", "INSERT INTO agents_app_storedbytes", ""),
    "file-written": ("", "INSERT INTO agents_app_file (", ""),
}
FILE_POINTS = ["bytes-written", "bytes-deleting", "files-rendered", "attachments-stored"]
POINTS = [*STATEMENTS, *FILE_POINTS, "run-accepted", "start-committed", "published", "tool-starting", "tool-done"]


def pass_point(point: str, data: object = "") -> None:
    """Crash here, if the file names this point and a text that `data` contains."""
    try:
        crash = json.loads(Path(os.environ[CRASH]).read_text())
    except FileNotFoundError:
        return
    if crash["point"] == point and crash["text"] in str(data):
        os.kill(os.getpid(), signal.SIGKILL)


def watch_statements() -> None:
    from django.db.backends.signals import connection_created

    def wrapped(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        plain, here = sql.replace('"', ""), threading.current_thread().name
        for point, (thread, beginning, word) in STATEMENTS.items():
            if here.startswith(thread) and plain.startswith(beginning) and word in plain:
                pass_point(point, params)
        return result

    connection_created.connect(lambda connection, **_: connection.execute_wrappers.append(wrapped), weak=False)


def watch_starts() -> None:
    from agents_app import runs

    start = runs.start

    def started(new: Any) -> Any:
        result = start(new)
        pass_point("run-accepted", new)
        return result

    runs.start = started


def watch_publishing() -> None:
    from agents_app import live

    publish, publish_soon = live.publish, live.publish_soon

    async def published(frames: Any) -> None:
        frames = list(frames)
        pass_point("published", frames)
        await publish(frames)

    def published_soon(frames: Any) -> None:
        pass_point("start-committed", frames)
        publish_soon(frames)

    live.publish, live.publish_soon = published, published_soon


def watch_files() -> None:
    from agents_app.files import saving
    from agents_app.tools.attachments import Attachments
    from agents_app.worker.files import RunFiles

    write, discard, keep, render = saving._write, saving.discard, Attachments.keep, RunFiles.render

    def written(key: str, incoming: Any) -> None:
        write(key, incoming)
        pass_point("bytes-written")

    def discarded(row: Any) -> None:
        pass_point("bytes-deleting")
        discard(row)

    async def kept(self: Attachments, result: Any) -> Any:
        kept = await keep(self, result)
        pass_point("attachments-stored", kept)
        return kept

    async def rendered(self: RunFiles, messages: Any, *options: Any) -> Any:
        files = await render(self, messages, *options)
        pass_point("files-rendered", messages)
        return files

    saving._write, saving.discard = written, discarded
    Attachments.keep, RunFiles.render = kept, rendered  # type: ignore[method-assign]


def lend_patience() -> None:
    """Where a file says so, a stopping worker waits for longer than it would: see `Crashable.give_grace`."""
    from agents_app.worker import worker

    stop = worker.Worker.stop

    async def stop_patiently(self: worker.Worker) -> None:
        with contextlib.suppress(FileNotFoundError, KeyError):  # a cluster has none
            worker.GRACE = float(Path(os.environ[GRACE]).read_text())
        await stop(self)

    worker.Worker.stop = stop_patiently  # type: ignore[method-assign]


def add_tools() -> None:
    """`note` and `note_again` write a line down; `hang` never ends, `stubborn` not even when it is told to.

    `late` writes its line down once a file of that name lies beside those of the effects.
    """
    from agents_app.engine import builtin_tools, toolset

    async def note(arguments: dict[str, Any], call: Any = None) -> str:
        line = str(arguments.get("line"))
        pass_point("tool-starting", line)
        _append(line)
        pass_point("tool-done", line)
        return f"noted {line}"

    async def hang(arguments: dict[str, Any], call: Any) -> str:
        _append(f"hanging {arguments.get('line')}")
        await asyncio.Event().wait()
        return ""

    async def stubborn(arguments: dict[str, Any], call: Any) -> str:
        _append(f"stubborn {arguments.get('line')}")
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

    async def late(arguments: dict[str, Any], call: Any) -> str:
        line = str(arguments.get("line"))
        while not Path(os.environ[EFFECTS]).with_name(line).exists():
            await asyncio.sleep(0.02)
        return await note(arguments)

    calls = {"note": note, "note_again": note, "hang": hang, "stubborn": stubborn, "late": late}
    for name, call in calls.items():
        _add(builtin_tools.BUILTIN_TOOLS, toolset.Tool, name, call, idempotent=name in ("note_again", "stubborn"))


Call = Callable[[dict[str, Any], Any], Awaitable[str]]


def _add(tools: dict[str, Any], tool: Any, name: str, call: Call, *, idempotent: bool) -> None:
    schema = {"type": "object", "properties": {"line": {"type": "string"}}, "required": ["line"]}
    tools[name] = tool(name=name, description=name, parameters=schema, call=call, idempotent=idempotent)


def _append(line: str) -> None:
    with Path(os.environ[EFFECTS]).open("a") as file:
        file.write(line + "\n")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler_project.settings")
    add_tools()
    watch_statements()
    import django

    # The event loop must be daphne's before anything else asks for one.
    import agents_app.server.daphne.server  # noqa: F401

    django.setup()
    watch_starts()
    watch_publishing()
    watch_files()
    lend_patience()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()

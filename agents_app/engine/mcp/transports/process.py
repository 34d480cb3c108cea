"""The process of a stdio server: start it, bound it, and kill it with all that it started."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import uuid
from asyncio.subprocess import SubprocessStreamProtocol
from pathlib import Path

from agents_app.engine.mcp.transports.base import ConnectFailed
from agents_app.engine.spec import ProcessLimits, ServerSpec

_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
_BUFFER = 1024 * 1024
EXIT_GRACE = 1.5  # seconds from the end of its input to SIGTERM
TERM_GRACE = 1.0  # seconds from SIGTERM to SIGKILL
_REAP_GRACE = 1.0  # seconds for the kernel to finish SIGKILL
_POLL = 0.02  # seconds
MARK = "AINTANDEM_MCP_PROCESS"  # in the environment of a server and of all that it starts: daemons are found by it
_SWEEPS = 20  # at most; each finds what was started during the one before


class _Protocol(SubprocessStreamProtocol):
    """Reports that the process itself ended, even if another process holds its pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_BUFFER, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        self.exited.set()
        super().process_exited()


class ServerProcess:
    """A running process, the leader of its own group. `mark` is in the environment of all that it starts."""

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: _Protocol, mark: str) -> None:
        stdin, stdout, stderr = protocol.stdin, protocol.stdout, protocol.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.exited = protocol.exited
        self._transport = transport
        self._group = transport.get_pid()
        self._mark = mark

    @property
    def end_reason(self) -> str:
        """How it ended, as the end of a sentence."""
        status = self._transport.get_returncode()
        if status is None:
            return "its process closed its output"
        if status < 0:
            return f"its process was ended by {_signal_name(-status)}"
        return f"its process ended with status {status}"

    async def end(self, *, now: bool = False) -> None:
        """End the process and its group: by the end of its input (unless `now`), then SIGTERM, then SIGKILL.

        Daemons, which have left the group, are killed after it.
        Even if this is cancelled, nothing stays alive.
        """
        try:
            self.stdin.close()
            if not now:
                await _within(EXIT_GRACE, self.exited.wait())
            self._signal(signal.SIGTERM)
            await _within(TERM_GRACE, self._gone())
        finally:
            self._signal(signal.SIGKILL)
            self._transport.close()
            daemons = asyncio.get_running_loop().run_in_executor(None, _kill_marked, self._mark)
        await _within(_REAP_GRACE, self._gone())
        await daemons

    async def _gone(self) -> None:
        while not self.exited.is_set() or self._signal(0):
            await asyncio.sleep(_POLL)

    def _signal(self, number: int) -> bool:
        """Send a signal to the whole group. Returns False if nobody is left."""
        try:
            os.killpg(self._group, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


async def start(spec: ServerSpec) -> ServerProcess:
    """Start the server's command in its folder.

    Raises:
        ConnectFailed: the system does not run it.
    """
    loop = asyncio.get_running_loop()
    mark = uuid.uuid4().hex
    environment = _environment(spec) | {MARK: mark}
    try:
        folder = _folder(spec)
        _find(spec.command, environment, folder)
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(loop),
            sys.executable,
            "-I",
            "-S",
            _LAUNCHER,
            str(os.getpid()),
            _limits(spec.limits),
            spec.command,
            *spec.args,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise ConnectFailed(f"its process cannot be started: {error.strerror}") from error
    return ServerProcess(transport, protocol, mark)


def _environment(spec: ServerSpec) -> dict[str, str]:
    language = os.environ.get("LANG", "")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8" if language in ("", "C", "POSIX") else language,
        **dict(spec.env),
    }


def _folder(spec: ServerSpec) -> str:
    if not spec.folder:
        return tempfile.gettempdir()
    Path(spec.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    return spec.folder


def _find(command: str, environment: dict[str, str], folder: str) -> None:
    path = str(Path(folder, command)) if "/" in command else command
    if shutil.which(path, path=environment["PATH"]) is None:
        where = "" if "/" in command else " on the PATH"
        raise ConnectFailed(f"there is no program {command!r}{where}")


def _limits(limits: ProcessLimits) -> str:
    limit_values = {
        "RLIMIT_DATA": limits.memory,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_NPROC": limits.processes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_FSIZE": limits.file_size,
        "RLIMIT_CORE": 0,
    }
    return ",".join(f"{name}={value}" for name, value in limit_values.items() if value is not None)


def _kill_marked(mark: str) -> None:
    """Kill the processes that have this mark in their environment. Only Linux shows it."""
    needle = f"{MARK}={mark}".encode()
    for _ in range(_SWEEPS):
        pids = [pid for pid in _processes() if needle in _environment_of(pid).split(b"\0")]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 — only the names
    except OSError:
        return []


def _environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


async def _within(seconds: float, waiting: "asyncio._CoroutineLike[object]") -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(waiting, seconds)

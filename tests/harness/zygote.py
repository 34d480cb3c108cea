"""Servers without the start of Python: a process that has imported the libraries forks once for each.

What a server does by itself (settings, applications, URLs, models) it still does by itself: the zygote holds only
libraries, and none of the product. `start` takes a command line of `python`, and behaves as `subprocess.Popen` does.
A child shows its own arguments and its own environment in /proc, so that `guard` and `ps` see what they expect.

Outside pytest (benchmarks, `scripts/cluster`), and for a command that is not Python's, `start` executes the command.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tests.harness import guard
from tests.harness.paths import ROOT

# What a server imports without settings. Nothing here may start a thread, or install Twisted's reactor, which must be
# asyncio's. The SDK of Anthropic takes three seconds, and few servers use it.
LIBRARIES = [
    "aiohttp", "anyio.streams.tls", "autobahn.twisted.websocket", "channels.db", "channels.generic.websocket",
    "channels.routing", "channels_redis.pubsub", "cronsim", "cryptography.fernet", "dj_database_url",
    "django.contrib.admin.views.main", "django.contrib.admindocs.views", "django.contrib.auth.checks",
    "django.contrib.auth.hashers", "django.contrib.auth.password_validation", "django.contrib.messages.middleware",
    "django.contrib.messages.storage.fallback", "django.contrib.postgres.search",
    "django.contrib.sessions.middleware", "django.contrib.sites.shortcuts", "django.contrib.staticfiles.storage",
    "django.core.asgi", "django.core.cache.backends.locmem", "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate", "django.core.management.commands.shell",
    "django.db.backends.postgresql.base", "django.db.backends.sqlite3.base", "django.middleware.clickjacking",
    "django.middleware.common", "django.middleware.csrf", "django.middleware.http", "django.middleware.security",
    "django.test.client", "django.views.debug", "django.views.i18n", "environs", "genai_prices", "genai_prices.data",
    "httpcore2._backends.anyio", "httpcore2._backends.mock", "httpx2", "jsonschema", "knox", "lxml.html",
    "markdown_it", "mcp.client.streamable_http", "mcp.server.lowlevel.server", "mcp.server.stdio",
    "mcp.server.streamable_http_manager", "msgspec.inspect", "msgspec.json", "msgspec.msgpack", "nh3", "openai",
    "openai.resources", "opentelemetry.sdk.trace.export", "orjson", "procrastinate.contrib.django.apps",
    "procrastinate.psycopg_connector", "prometheus_client.core", "prometheus_client.exposition", "psycopg_pool",
    "pygments.formatters", "pygments.lexers", "redis.asyncio", "requests", "rest_framework.authentication",
    "rest_framework.request", "rest_framework.response", "rest_framework.serializers", "servestatic.middleware",
    "simpleeval", "sqlite3", "standardwebhooks", "truststore", "twisted.internet.asyncioreactor",
    "twisted.internet.endpoints", "twisted.web.http", "unittest.mock", "uritemplate", "wsgiref.simple_server", "yaml",
    "zoneinfo",
]  # fmt: skip

ARGUMENTS_ROOM, ENVIRONMENT_ROOM = 4_000, 64_000  # bytes that a child can show
LARGEST = 128_000  # bytes of a request
DEVNULL, PIPE, STDOUT = subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT


class Process:
    """A child of the zygote, with what the tests use of `subprocess.Popen`."""

    def __init__(self, command: Sequence[str], status: socket.socket, output: int | None) -> None:
        self.args = command
        self.returncode: int | None = None
        self.stdin = self.stderr = None
        self.stdout: Any = None if output is None else os.fdopen(output, encoding="utf-8")
        self._status = status
        message, descriptors, *_ = socket.recv_fds(status, 100, 1)
        if not message:
            raise RuntimeError(f"The zygote is gone; it could not start {command}.")
        self.pid: int = json.loads(message)
        self._handle = descriptors[0]

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._look(timeout)
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(list(self.args), timeout)
        return status

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._status, select.POLLIN)
            if poll.poll(None if timeout is None else timeout * 1000):
                self.returncode = json.loads(self._status.recv(100) or b"-9")
                self._status.close()
                os.close(self._handle)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Zygote:
    """The process that forks, seen from the tests. It starts with the first request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def _begin(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
        command = [sys.executable, "-m", __name__, str(theirs.fileno()), " " * ARGUMENTS_ROOM]
        # The empty mark says that it is the tests', and belongs to no server.
        environment = os.environ | {guard.MARK: "", "ROOM": " " * ENVIRONMENT_ROOM}
        with theirs:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, pass_fds=[theirs.fileno()], stdin=DEVNULL, stdout=DEVNULL
            )

    def start(self, request: "Request", files: list[int]) -> socket.socket:
        """Returns the socket that tells of the new process: its id and handle first, and its exit status last."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, self._lock:
            if self._process is None:
                self._begin()
            message = json.dumps(request._asdict()).encode()
            socket.send_fds(self._socket, [message], [theirs.fileno(), *files])
        return ours

    def close(self) -> None:
        if self._process is not None:
            self._socket.close()
            self._process.wait()


_zygote: Zygote | None = None


@contextlib.contextmanager
def running() -> Any:
    """Inside, `start` forks."""
    global _zygote
    _zygote = Zygote()
    try:
        yield
    finally:
        _zygote.close()
        _zygote = None


def start(
    command: Sequence[str],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str],
    stdin: int | IO[Any] | None = DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    start_new_session: bool = False,
    fork: bool = True,
) -> Any:
    """As `subprocess.Popen`, for text; a pipe is possible for stdout alone."""
    if not (fork and _zygote and _is_ours(command, env)):
        return subprocess.Popen(
            command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=start_new_session,
            text=True,
        )  # fmt: skip
    with contextlib.ExitStack() as stack:
        nothing = os.open(os.devnull, os.O_RDWR)
        stack.callback(os.close, nothing)
        reading = None
        if stdout == PIPE:
            reading, writing = os.pipe()
            stack.callback(os.close, writing)
            stdout = writing

        def number(file: Any, usual: int) -> int:
            if file is None:
                return usual
            return nothing if file == DEVNULL else file if isinstance(file, int) else file.fileno()

        files = [number(stdin, 0), number(stdout, 1), number(stdout if stderr == STDOUT else stderr, 2)]
        status = _zygote.start(Request(list(command[1:]), str(cwd), dict(env), start_new_session), files)
    return Process(command, status, reading)


def run(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path = ROOT, check: bool = False, timeout: float = 180
) -> "subprocess.CompletedProcess[str]":
    """As `subprocess.run(…, capture_output=True, text=True)`, without anything to read."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as problems:
        process = start(command, cwd=cwd, env=env, stdout=out, stderr=problems)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        problems.seek(0)
        done = subprocess.CompletedProcess(list(command), status, out.read(), problems.read())
    if check:
        done.check_returncode()
    return done


def _is_ours(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether it is our Python with a script, a module or a program, and with no option and environment of its own."""
    if len(command) < 2 or command[0] != sys.executable or (command[1].startswith("-") and command[1] not in "-m -c"):
        return False
    return {k: v for k, v in env.items() if k.startswith("PYTHON")} == _python_variables()


def _python_variables() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k.startswith("PYTHON")}


# The process that forks


class Request(NamedTuple):
    arguments: list[str]
    cwd: str
    env: dict[str, str]
    session: bool


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for pytest, which closes our socket
    gc.disable()  # what is imported stays
    for library in LIBRARIES:
        importlib.import_module(library)
    assert "twisted.internet.reactor" not in sys.modules
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    gc.enable()
    request = _serve(control)
    if request is not None:
        _run(request)


def _serve(control: socket.socket) -> Request | None:
    """Fork for each request, and tell when the children end. Returns the request in a child, None at the end."""
    children: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready in children:
                poll.unregister(ready)
                _bury(ready, *children.pop(ready))
                continue
            message, files, *_ = socket.recv_fds(control, LARGEST, 4)
            if not message:
                return None
            request = Request(**json.loads(message))
            pid = os.fork()
            if not pid:
                _become(request, files[1:])
                return request
            status = socket.socket(fileno=files[0])
            for file in files[1:]:
                os.close(file)
            handle = os.pidfd_open(pid)
            children[handle] = pid, status
            poll.register(handle, select.POLLIN)
            socket.send_fds(status, [str(pid).encode()], [handle])


def _bury(handle: int, pid: int, status: socket.socket) -> None:
    _, code = os.waitpid(pid, 0)
    os.close(handle)
    with status, contextlib.suppress(OSError):  # nobody may wait for it any more
        status.send(str(os.waitstatus_to_exitcode(code)).encode())


def _become(request: Request, files: list[int]) -> None:
    """Turn this process into one that looks as if it had been executed."""
    if request.session:
        os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, max(files) + 1000)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.env)
    time.tzset()
    _show([sys.executable, *request.arguments], request.env)


def _show(arguments: list[str], environment: dict[str, str]) -> None:
    """Overwrite what /proc tells of arguments and environment: they lie where the kernel put ours."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    arg_start, arg_end, env_start, env_end = map(int, fields[45:49])
    _overwrite(arg_start, arg_end, arguments)
    variables = [f"{name}={value}" for name, value in environment.items()]
    variables.sort(key=lambda variable: not variable.startswith(guard.MARK))  # what does not fit is not shown
    _overwrite(env_start, env_end, variables)


def _overwrite(start: int, end: int, texts: list[str]) -> None:
    data = b"".join(os.fsencode(text) + b"\0" for text in texts)[: end - start - 1]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, data, len(data))


def _run(request: Request) -> None:
    """As `python` does with these arguments."""
    first, *rest = request.arguments
    if first in ("-m", "-c"):
        name, *rest = rest
        sys.path[0] = request.cwd if first == "-m" else ""
        sys.argv = [first, *rest]
        if first == "-m":
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            exec(compile(name, "<string>", "exec"), sys.modules["__main__"].__dict__ | {"__name__": "__main__"})
    else:
        sys.path[0] = str(Path(first).resolve().parent)
        sys.argv = request.arguments
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    main()

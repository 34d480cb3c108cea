"""Start a command of somebody else, within its limits, and in its sandbox if it has one."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents_app.engine.sandbox import bubblewrap
from agents_app.engine.sandbox.daemons import MARK
from agents_app.engine.sandbox.gateway import PROXY, Gateway, HostRules
from agents_app.engine.sandbox.process import CommandProcess, ProcessProtocol
from agents_app.engine.sandbox.system_calls import seccomp_filter
from agents_app.engine.spec import ProcessLimits, SandboxSpec

_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
_OWN_HOST = "localhost,127.0.0.1,::1"


class CannotStart(Exception):
    """The system does not run the command. The text says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: `name` is for people, `folder` where it runs, `sandbox` what it may reach; None: all that we may."""

    name: str
    program: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    folder: str
    limits: ProcessLimits
    sandbox: SandboxSpec | None


async def start(command: Command) -> CommandProcess:
    """Start the command in its folder.

    Raises:
        CannotStart: the system does not run it.
    """
    try:
        if command.sandbox is None:
            return await _start_plain(command)
        return await _start_in_sandbox(command, command.sandbox)
    except OSError as error:
        raise CannotStart(f"its process cannot be started: {error.strerror}") from error


async def _start_plain(command: Command) -> CommandProcess:
    mark = uuid.uuid4().hex
    folder = _folder(command)
    environment = {**_environment(), "HOME": os.environ.get("HOME", "/"), **dict(command.env), MARK: mark}
    _find(command.program, environment["PATH"], folder)
    transport, protocol = await _launch(command, [command.program, *command.args], environment, folder)
    return CommandProcess(transport, protocol, mark)


async def _start_in_sandbox(command: Command, sandbox: SandboxSpec) -> CommandProcess:
    folder = _folder(command)
    environment = {
        **_environment(),
        "HOME": folder,
        **(_PROXY_SETTINGS if sandbox.network else {}),
        **dict(command.env),
    }
    _find(command.program, environment["PATH"], folder)
    with contextlib.ExitStack() as descriptors:
        keep = _filter(descriptors)
        arguments = await asyncio.to_thread(
            bubblewrap.arguments,
            sandbox,
            command.program,
            command.args,
            folder=folder,
            path=environment["PATH"],
            seccomp=keep,
        )
        if not sandbox.network:
            transport, protocol = await _launch(command, arguments, environment, folder, "none", keep)
            return CommandProcess(transport, protocol)
        channel, far_end = socket.socketpair()
        descriptors.enter_context(far_end)
        gateway = Gateway(command.name, HostRules(sandbox.hosts))
        try:
            transport, protocol = await _launch(command, arguments, environment, folder, far_end.fileno(), keep)
        except BaseException:
            channel.close()
            raise
        gateway.start(channel)
        return CommandProcess(transport, protocol, gateway=gateway)


async def _launch(
    command: Command,
    arguments: Sequence[str],
    environment: dict[str, str],
    folder: str,
    network: str | int = "host",
    keep: int | None = None,
) -> tuple[asyncio.SubprocessTransport, ProcessProtocol]:
    loop = asyncio.get_running_loop()
    return await loop.subprocess_exec(
        lambda: ProcessProtocol(loop),
        sys.executable,
        "-I",
        "-S",
        _LAUNCHER,
        str(os.getpid()),
        _limits(command.limits),
        str(network),
        "-" if keep is None else str(keep),
        *arguments,
        env=environment,
        cwd=folder,
        start_new_session=True,
        pass_fds=[number for number in (network, keep) if isinstance(number, int)],
    )


def _filter(descriptors: contextlib.ExitStack) -> int | None:
    """Return a descriptor that the filter of system calls can be read from; None if there is none."""
    program = seccomp_filter()
    if not program:
        return None
    reading, writing = os.pipe()
    descriptors.callback(os.close, reading)
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(program)
    return reading


def _environment() -> dict[str, str]:
    language = os.environ.get("LANG", "")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8" if language in ("", "C", "POSIX") else language,
    }


_PROXY_SETTINGS = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), PROXY),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), _OWN_HOST),
    "NODE_USE_ENV_PROXY": "1",  # or Node's own `fetch` ignores all of them
}


def _folder(command: Command) -> str:
    if not command.folder:
        return tempfile.gettempdir()
    Path(command.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    return command.folder


def _find(program: str, path: str, folder: str) -> None:
    wanted = str(Path(folder, program)) if "/" in program else program
    if shutil.which(wanted, path=path) is None:
        where = "" if "/" in program else " on the PATH"
        raise CannotStart(f"there is no program {program!r}{where}")


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

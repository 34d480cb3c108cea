"""A server as a process: started, stopped, killed, frozen, started again, and never left behind."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from tests.harness import guard, zygote
from tests.harness.paths import ROOT

# Debian keeps these where no PATH looks.
PLACES = [os.environ.get("PATH", ""), "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]

_reserved: set[int] = set()


def free_port() -> int:
    """A port that stays free while its server is down: the kernel gives none of these to clients.

    Each of pytest's processes has ports of its own, also where the tests run on PostgreSQL beside the embedded ones.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4
    if os.environ.get("PRODUCT") == "cluster":
        process += 4
    while True:
        port = random.randrange(12_000 + process, 32_000, 8)
        if port not in _reserved and not is_open(port):
            _reserved.add(port)
            return port


def is_open(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def program(name: str) -> str:
    """The path of a program that `scripts/install-test-tools` installs."""
    path = shutil.which(name, path=os.pathsep.join(PLACES))
    if path is None:
        raise RuntimeError(f"There is no {name} here: run scripts/install-test-tools, which installs it.")
    return path


class Daemon:
    """A process with a group and a folder of its own. Subclasses say what to run, and when it is ready."""

    name = "daemon"
    stop_signal = signal.SIGTERM
    cwd: Path = ROOT

    def __init__(self, *, log: Path | None = None) -> None:
        # Short, for the sake of Unix sockets; and no other user could come through pytest's folders.
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir="/tmp"))
        guard.watch(self.folder)
        self.log = log or self.folder / f"{self.name}.log"
        self.process: Any = None  # as `zygote.start` returns it
        self._log_start = 0

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def is_ready(self) -> bool:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, timeout: float = 180) -> None:
        """Start it and return when it is ready."""
        self.spawn()
        self.wait_until_ready(timeout)

    def spawn(self) -> None:
        """Start it, and do not wait."""
        assert not self.is_alive, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self.process = zygote.start(
                self.command(),
                cwd=self.cwd,
                env=self.marked_environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def marked_environment(self) -> dict[str, str]:
        """Its environment, with the mark by which all that belongs to it is found."""
        return self.environment() | {guard.MARK: str(self.folder)}

    def wait_until_ready(self, timeout: float = 180) -> None:
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if not self.is_alive or time.monotonic() > deadline:
                what = "is not ready" if self.is_alive else "ended at once"
                self.kill()
                raise RuntimeError(f"{self.name} {what}. Its log, {self.log}:\n{self.output()[-3000:]}")
            time.sleep(0.02)

    def output(self) -> str:
        """What it has logged since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def pids(self) -> list[int]:
        """Itself, its children, and whoever somebody else started in its place."""
        return guard.members(self.folder)

    def signal(self, number: int) -> None:
        """To its whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """kill -9, to it and its children; returns when they are gone."""
        family = self.pids()
        if self.is_alive:
            self.signal(signal.SIGKILL)
            self.process.wait()
        guard.sweep([self.folder])
        guard.wait_for_the_end_of(family)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self, timeout: float = 60) -> int | None:
        """End it in an orderly way; returns its exit status, or None where it did not run."""
        if not self.is_alive:
            return None
        self.begin_stop()
        return self.end_stop(timeout)

    def begin_stop(self) -> None:
        """Ask it to end, and do not wait. Only itself: it knows what to tell its children."""
        if self.is_alive:
            os.kill(self.pid, self.stop_signal)
            self.thaw()

    def end_stop(self, timeout: float = 60) -> int | None:
        """Wait for the end; kill what does not end in time."""
        if self.process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        self.kill()
        return self.process.returncode

    def restart(self, **options: Any) -> None:
        self.stop(**options)
        self.start()

    def close(self) -> None:
        """Stop it for good: its folder is deleted."""
        try:
            self.stop()
        finally:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)
            guard.forget(self.folder)

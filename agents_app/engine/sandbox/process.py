"""The process of a command, in a sandbox or not: kill it with all that it started."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import SubprocessStreamProtocol
from pathlib import Path

from agents_app import background
from agents_app.engine.sandbox.daemons import kill_marked
from agents_app.engine.sandbox.gateway import Gateway

_BUFFER = 1024 * 1024
EXIT_GRACE = 1.5  # seconds from the end of its input to SIGTERM
TERM_GRACE = 1.0  # seconds from SIGTERM to SIGKILL
_REAP_GRACE = 1.0  # seconds for the kernel to finish SIGKILL
_POLL = 0.02  # seconds
_BY_SIGNAL = 128  # and the signal: how bubblewrap, as a shell, reports that one ended the command


class ProcessProtocol(SubprocessStreamProtocol):
    """Reports that the process itself ended, even if another process holds its pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_BUFFER, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        self.exited.set()
        super().process_exited()


class CommandProcess:
    """A running process, the leader of its own group.

    `mark` is in the environment of all that it starts. It is empty in a sandbox: the kernel ends that as a whole.
    `gateway` is the sandbox's way to the internet.
    """

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        protocol: ProcessProtocol,
        mark: str = "",
        gateway: Gateway | None = None,
    ) -> None:
        stdin, stdout, stderr = protocol.stdin, protocol.stdout, protocol.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.exited = protocol.exited
        self._transport = transport
        self._group = transport.get_pid()
        self._mark = mark
        self._gateway = gateway

    @property
    def refused(self) -> tuple[str, ...]:
        """The first hosts that it tried to reach and may not, each with the reason."""
        return tuple(self._gateway.refused) if self._gateway else ()

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs, negative for a signal."""
        status = self._transport.get_returncode()
        in_sandbox = not self._mark
        return _BY_SIGNAL - status if in_sandbox and status is not None and status > _BY_SIGNAL else status

    @property
    def end_reason(self) -> str:
        """How it ended, as the end of a sentence."""
        status = self.status
        if status is None:
            return "its process closed its output"
        if status < 0:
            return f"its process was ended by {_signal_name(-status)}"
        return f"its process ended with status {status}"

    def kill(self) -> None:
        """Begin the end of the process and all that it started. `end` is still to be called.

        The first process of a sandbox takes all others with it, and bubblewrap ends after it. If that ended before, its
        child would be left to whoever adopts it.
        """
        first = [] if self._mark else _children(self._group)
        for pid in first:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not first:
            self._signal(signal.SIGKILL)

    async def end(self, *, now: bool = False) -> None:
        """End the process and its group: by the end of its input (unless `now`), then SIGTERM, then SIGKILL.

        Daemons, which have left the group, are killed after it.
        Even if this is cancelled, nothing stays alive.
        """
        try:
            self.stdin.close()
            if not now:
                await _within(EXIT_GRACE, self.exited.wait())
            self._terminate()
            await _within(TERM_GRACE, self._gone())
        finally:
            self.kill()
            if self._mark:
                self._transport.close()
            rest = background.spawn(self._end_rest())
        await asyncio.shield(rest)

    async def _end_rest(self) -> None:
        """See the killed processes off, and what served them. Nobody's cancellation ends this."""
        try:
            if self._mark:
                await asyncio.get_running_loop().run_in_executor(None, kill_marked, self._mark)
            await _within(_REAP_GRACE, self._gone())
        finally:
            self._transport.close()
            if self._gateway:
                await self._gateway.close()

    async def _gone(self) -> None:
        while not self.exited.is_set() or self._signal(0):
            await asyncio.sleep(_POLL)

    def _terminate(self) -> None:
        """Send SIGTERM to the command. In a sandbox not to bubblewrap: its end would end all at once."""
        inside = [] if self._mark else [pid for first in _children(self._group) for pid in _children(first)]
        for pid in inside:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)
        if not inside:
            self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> bool:
        """Send a signal to the whole group. Returns False if nobody is left."""
        try:
            os.killpg(self._group, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def _children(pid: int) -> list[int]:
    """Return the children of a process that has one thread."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


async def _within(seconds: float, waiting: "asyncio._CoroutineLike[object]") -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(waiting, seconds)

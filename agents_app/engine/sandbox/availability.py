"""Whether this machine can make sandboxes, tried once."""

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass

from agents_app.engine.sandbox import bubblewrap, starting
from agents_app.engine.spec import ProcessLimits, SandboxSpec
from agents_app.per_loop import per_loop

_TRY_AGAIN = 60.0  # seconds: somebody may install what is missing
_TIMEOUT = 20.0
_MAX_REASON = 300  # characters
MISSING = (
    "bubblewrap is not installed. Install Debian's package bubblewrap (`make install` does), or set its sandbox to "
    "'none' if you trust it"
)


@dataclass(slots=True)
class _Attempt:
    """The last time that a sandbox was made. `problem` is empty if it worked."""

    problem: str = ""
    at: float | None = None

    @property
    def holds(self) -> bool:
        return self.at is not None and (not self.problem or time.monotonic() - self.at < _TRY_AGAIN)


_last = _Attempt()
_one_at_a_time = per_loop(asyncio.Lock)


async def problem() -> str:
    """Return why this machine makes no sandboxes, as the end of a sentence; empty if it does."""
    async with _one_at_a_time():
        if not _last.holds:
            _last.problem, _last.at = await _try(), time.monotonic()
    return _last.problem


async def _try() -> str:
    if not sys.platform.startswith("linux"):
        return "only Linux has them. Set its sandbox to 'none' if you trust it"
    if not bubblewrap.is_installed():
        return MISSING
    try:
        async with asyncio.timeout(_TIMEOUT):
            status, errors = await _run()
    except (starting.CannotStart, TimeoutError) as error:
        status, errors = -1, repr(error)
    if status == 0:
        return ""
    return (
        f"bubblewrap failed ({errors.strip()[-_MAX_REASON:]}). Allow user namespaces (docs/security.md, Sandbox), or "
        "set its sandbox to 'none' if you trust it"
    )


async def _run() -> tuple[int | None, str]:
    sandbox = SandboxSpec(network=False)
    command = starting.Command("try", "true", (), (), tempfile.gettempdir(), ProcessLimits(), sandbox)
    process = await starting.start(command)
    try:
        errors = await process.stderr.read(_MAX_REASON * 4)
        await process.exited.wait()
        return process.status, errors.decode("utf-8", "replace")
    finally:
        await process.end(now=True)

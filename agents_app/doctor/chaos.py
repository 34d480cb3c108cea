"""Run the cluster's chaos benchmark for a limited time. It is part of the source code, not of the package."""

import importlib.util
import os
import subprocess
import sys

from django.conf import settings

from agents_app.maintenance.programs import find_program

_SHORTEST, _LONGEST = 5.0, 3600.0  # seconds
_SESSIONS = 10
_PROGRAMS = {"initdb": "postgresql", "redis-server": "redis-server", "nginx": "nginx-light"}
_MODULES = ("psutil", "websockets")
# The temporary cluster has its own database, Redis and key, and must never reach ours.
_OURS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "VAR_DIR", "CONFIG_DIR", "AUTH_REQUIRED")


class Unavailable(Exception):
    """Chaos cannot run here; the text says what it needs."""


def run(seconds: float) -> int:
    """Run it for so many seconds, printing its output; return its exit status: 0 if nothing was lost or doubled.

    Raises:
        Unavailable: something that it needs is missing.
    """
    if not _SHORTEST <= seconds <= _LONGEST:
        raise Unavailable(f"--seconds must be from {_SHORTEST:g} to {_LONGEST:g}.")
    if missing := _missing():
        raise Unavailable(f"Chaos needs what is missing here: {'; '.join(missing)}.")
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    command = [sys.executable, "-m", "benchmarks.chaos", *arguments(seconds)]
    return subprocess.run(command, cwd=settings.BASE_DIR, env=environment, check=False).returncode  # noqa: S603


def arguments(seconds: float) -> list[str]:
    """Return the arguments of the benchmark."""
    return ["chaos", "--minutes", str(seconds / 60), "--sessions", str(_SESSIONS)]


def _missing() -> list[str]:
    missing = []
    if not (settings.BASE_DIR / "benchmarks" / "chaos.py").exists():
        missing.append("the source code with its benchmarks/ and tests/ (a git checkout)")
    if modules := [name for name in _MODULES if importlib.util.find_spec(name) is None]:
        missing.append(f"the Python packages {' and '.join(modules)} (`make install-dev`)")
    if packages := [package for name, package in _PROGRAMS.items() if find_program(name) is None]:
        missing.append(f"the programs of Debian's {', '.join(packages)} (`scripts/install-test-tools`)")
    return missing

"""A bounded run of the cluster's chaos benchmark, which comes with the source code and not with the package."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from django.conf import settings

_SHORTEST, _LONGEST = 5.0, 3600.0  # seconds
_SESSIONS = 10
_PROGRAMS = {"initdb": "postgresql", "redis-server": "redis-server", "nginx": "nginx-light"}
_MODULES = ("psutil", "websockets")
# Debian keeps these where no PATH looks.
_PLACES = [os.environ.get("PATH", ""), "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
# The throw-away cluster has a database, a Redis and a key of its own; it must not even hear of ours.
_OURS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "VAR_DIR", "CONFIG_DIR", "AUTH_REQUIRED")


class Unavailable(Exception):
    """It cannot be done here; the text says what it needs."""


def run(seconds: float) -> int:
    """Let it run for so long, printing as it goes; returns its exit status: 0 where nothing was lost or doubled.

    Raises:
        Unavailable: something that it needs is not here.
    """
    if not _SHORTEST <= seconds <= _LONGEST:
        raise Unavailable(f"--seconds must be from {_SHORTEST:g} to {_LONGEST:g}.")
    if missing := _missing():
        raise Unavailable(f"Chaos needs what is not here: {'; '.join(missing)}.")
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    command = [sys.executable, "-m", "benchmarks.chaos", *arguments(seconds)]
    return subprocess.run(command, cwd=settings.BASE_DIR, env=environment, check=False).returncode  # noqa: S603


def arguments(seconds: float) -> list[str]:
    """What the benchmark is told."""
    return ["chaos", "--minutes", str(seconds / 60), "--sessions", str(_SESSIONS)]


def _missing() -> list[str]:
    missing = []
    if not (settings.BASE_DIR / "benchmarks" / "chaos.py").exists():
        missing.append("the source code with its benchmarks/ and tests/ (a git checkout)")
    if modules := [name for name in _MODULES if importlib.util.find_spec(name) is None]:
        missing.append(f"the Python packages {' and '.join(modules)} (`make install-dev`)")
    places = os.pathsep.join(_PLACES)
    if packages := [package for name, package in _PROGRAMS.items() if shutil.which(name, path=places) is None]:
        missing.append(f"the programs of Debian's {', '.join(packages)} (`scripts/install-test-tools`)")
    return missing

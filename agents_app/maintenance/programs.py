"""Programs of Debian's packages, some of which are in folders that no PATH has."""

import os
import shutil
from pathlib import Path


def find_program(name: str) -> str | None:
    """Return the path of a program; of several versions of PostgreSQL, the newest one's, which reads all older ones."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    folders = [*map(str, versions), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders))


def _version(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0

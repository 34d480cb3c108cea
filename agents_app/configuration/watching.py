"""Detect changed files within a second, by their times and sizes."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

INTERVAL = 0.5  # seconds; each poll costs one stat per file
Stamp = tuple[tuple[str, int, int], ...]


def expanded(paths: Iterable[Path]) -> list[Path]:
    """Return the files; of a folder its *.yaml and *.yml, sorted by name."""
    files: list[Path] = []
    for path in paths:
        files += sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    return files


def stamp(paths: Iterable[Path]) -> Stamp:
    """Return a value that changes when a file is written, created or deleted."""
    stamps = []
    for path in expanded(paths):
        try:
            status = path.stat()
            stamps.append((str(path), status.st_mtime_ns, status.st_size))
        except OSError:
            stamps.append((str(path), 0, 0))
    return tuple(stamps)


def changes(paths: Iterable[Path]) -> Iterator[Stamp]:
    """Yield the stamp at once, and again after each change that has settled."""
    paths = list(paths)
    last: Stamp | None = None
    while True:
        now = stamp(paths)
        if now != last:
            time.sleep(INTERVAL / 5)  # an editor may still be writing
            if stamp(paths) == now:
                last = now
                yield now
                continue
        time.sleep(INTERVAL)

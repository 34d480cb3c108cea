"""Files that change: seen within a second, by their times and sizes."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

INTERVAL = 0.5  # seconds; a look costs one stat for each file
Stamp = tuple[tuple[str, int, int], ...]


def expanded(paths: Iterable[Path]) -> list[Path]:
    """The files: of a folder, its *.yaml and *.yml in the order of their names."""
    found: list[Path] = []
    for path in paths:
        found += sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    return found


def stamp(paths: Iterable[Path]) -> Stamp:
    """What differs once a file was written, made or deleted."""
    stamps = []
    for path in expanded(paths):
        try:
            status = path.stat()
            stamps.append((str(path), status.st_mtime_ns, status.st_size))
        except OSError:
            stamps.append((str(path), 0, 0))
    return tuple(stamps)


def changes(paths: Iterable[Path]) -> Iterator[Stamp]:
    """At once, and then whenever something has changed and stayed so for a moment."""
    paths = list(paths)
    known: Stamp | None = None
    while True:
        now = stamp(paths)
        if now != known:
            time.sleep(INTERVAL / 5)  # an editor may still be writing
            if stamp(paths) == now:
                known = now
                yield now
                continue
        time.sleep(INTERVAL)

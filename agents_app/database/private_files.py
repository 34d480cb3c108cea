"""Keep the database, the keys and the backups private: only the user of the server may read them."""

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

logger = logging.getLogger(__name__)

_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_COMPANIONS = ("", "-wal", "-shm", "-journal", ".before-restore")  # of an SQLite file


def exposed() -> list[Path]:
    """Return VAR_DIR and those of its files, and of the database's, that other users of this machine may use."""
    return [path for path in _private_paths() if path.stat().st_mode & _GROUP_AND_OTHERS]


def protect() -> None:
    """Take the permissions of other users away, and log what they could use.

    Raises:
        ImproperlyConfigured: this user may not change the permissions.
    """
    paths = exposed()
    for path in paths:
        try:
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_GROUP_AND_OTHERS)
        except OSError as error:
            kind = "700" if path.is_dir() else "600"
            raise ImproperlyConfigured(
                f"Other users of this machine may use {path}, and its permissions cannot be changed "
                f"({error.strerror}): make this user its owner, with mode {kind}."
            ) from None
    if paths:
        logger.warning("Other users of this machine could use %s: now only this user can.", ", ".join(map(str, paths)))


def _private_paths() -> Iterator[Path]:
    """Yield what must be private. What lies deeper in VAR_DIR is behind the folder's own permissions."""
    folder = Path(settings.VAR_DIR)
    files = set(folder.iterdir())
    if settings.EMBEDDED:
        database = Path(str(settings.DATABASES["default"]["NAME"]))
        files |= {database.with_name(f"{database.name}{ending}") for ending in _COMPANIONS}
    yield folder
    yield from sorted(file for file in files if file.is_file() and not file.is_symlink())

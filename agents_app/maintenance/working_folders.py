"""The folders of sessions and users in which code and MCP servers run: delete those that nobody needs."""

import contextlib
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model

from agents_app.models import Session

CODE, MCP = "code", "mcp"  # in VAR_DIR
UNUSED = 30 * 86_400.0  # seconds after which a folder of code is deleted
_SCOPE = re.compile(r"[^.]+\.(session|user)-(.+)")  # as `McpServer.spec` names the folder of a server


def delete_unneeded() -> int:
    """Delete the folders of sessions and users that are gone, and those of code unused for long. Returns how many."""
    of_code = _folders(CODE)
    scopes = {folder: match for folder in _folders(MCP) if (match := _SCOPE.fullmatch(folder.name))}
    sessions = {match[2] for match in scopes.values() if match[1] == "session"} | {f.name for f in of_code}
    users = {match[2] for match in scopes.values() if match[1] == "user" and match[2].isdigit()}
    living = {
        "session": set(Session.objects.filter(pk__in=sessions).values_list("pk", flat=True)),
        "user": {str(pk) for pk in get_user_model().objects.filter(pk__in=users).values_list("pk", flat=True)},
    }
    old = time.time() - UNUSED
    unneeded = [folder for folder in of_code if folder.name not in living["session"] or folder.stat().st_mtime < old]
    unneeded += [folder for folder, match in scopes.items() if match[2] not in living[match[1]]]
    return _remove_all(unneeded)


def _folders(kind: str) -> list[Path]:
    root = Path(settings.VAR_DIR) / kind
    return [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []


def _remove_all(folders: Iterable[Path]) -> int:
    count = 0
    for folder in folders:
        remove(folder)
        count += 1
    return count


def remove(folder: Path) -> None:
    """Delete a folder, also if code has closed folders in it. No code runs in it any more."""

    def open_and_retry(_: object, path: str, __: object) -> None:
        closed = Path(path) if Path(path).is_dir() and not Path(path).is_symlink() else Path(path).parent
        if closed.is_relative_to(folder):
            with contextlib.suppress(OSError):
                closed.chmod(0o700)
            shutil.rmtree(closed, ignore_errors=True)

    shutil.rmtree(folder, onerror=open_and_retry)
    shutil.rmtree(folder, ignore_errors=True)

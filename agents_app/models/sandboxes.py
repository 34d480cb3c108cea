"""What commands may reach: the choices of a server's sandbox, and their validation."""

import os
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from agents_app.engine.spec import SandboxSpec
from agents_app.network import is_loopback, is_metadata, is_network

_MOST = 50
_LONGEST_PATH = 1000
_HOST = re.compile(r"[A-Za-z0-9*?_.\[\]-]{1,253}")
_NEVER_SHOWN = ("/", "/dev", "/etc", "/proc", "/run", "/sys", "/tmp")  # noqa: S108 — a sandbox has its own


class Sandbox(models.TextChoices):
    """What a command may reach."""

    STRICT = "strict", "strict (no network)"
    NETWORK = "network", "network (the internet, through a filter)"
    NONE = "none", "none (all that the server's user may)"


def validate_hosts(value: Any) -> None:
    """Reject what is not a list of hosts that a sandbox may connect to."""
    if not isinstance(value, list) or not all(isinstance(host, str) and _is_host(host) for host in value):
        raise ValidationError(
            'Enter a list of names, patterns of names, addresses or networks, for example ["api.example.com", '
            '"*.example.org", "10.1.0.0/16"], without schemes and ports.'
        )
    if len(value) > _MOST:
        raise ValidationError(f"Enter at most {_MOST} hosts.")
    for host in value:
        address = host.partition("/")[0]
        if is_loopback(address) or is_metadata(address):
            raise ValidationError(f"A sandbox never reaches {host!r}: remove it.")


def _is_host(host: str) -> bool:
    return is_network(host) or bool(_HOST.fullmatch(host))


def validate_folders(value: Any) -> None:
    """Reject what is not a list of folders that a sandbox shows."""
    if not isinstance(value, list) or not all(map(_is_folder, value)):
        raise ValidationError(
            'Enter a list of folders, for example [{"path": "/srv/files", "write": false}], with absolute paths.'
        )
    if len(value) > _MOST:
        raise ValidationError(f"Enter at most {_MOST} folders.")
    for folder in value:
        path = os.path.normpath(folder["path"])
        if path in _NEVER_SHOWN:
            raise ValidationError(f"A sandbox never shows all of {path!r}: name a folder in it.")
        if any(Path(path).is_relative_to(hidden) for hidden in hidden_paths()):
            raise ValidationError(f"A sandbox never shows {path!r}, which is the server's own.")


def _is_folder(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= {"path", "write"}
        and isinstance(path := value.get("path"), str)
        and path.startswith("/")
        and "\x00" not in path
        and len(path) <= _LONGEST_PATH
        and isinstance(value.get("write", False), bool)
    )


def hidden_paths() -> tuple[str, ...]:
    """Return what no sandbox shows: the folder with our data and keys, and the database."""
    database = settings.DATABASES["default"]
    files = [str(database["NAME"])] if database["ENGINE"].endswith(".sqlite") else []
    return tuple(os.path.realpath(path) for path in (str(settings.VAR_DIR), *files))


def sandbox_spec(kind: str, hosts: list[str], folders: list[dict[str, Any]]) -> SandboxSpec | None:
    """Return what the engine needs; None for a command without a sandbox."""
    if kind == Sandbox.NONE:
        return None
    return SandboxSpec(
        network=kind == Sandbox.NETWORK,
        hosts=tuple(host.lower() for host in hosts),
        folders=tuple((os.path.normpath(folder["path"]), folder.get("write", False)) for folder in folders),
        hidden=hidden_paths(),
    )

"""What of the file system a command needs to run: its program, and the files that its arguments name."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# Of the system, read-only. The rest of /etc is nobody's business.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "debian_version", "fonts",
    "host.conf", "java", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "node",
    "os-release", "perl", "pki", "protocols", "python3", "python3.11", "python3.12", "python3.13", "services", "ssl",
    "timezone",
)  # fmt: skip
# Too wide to be shown because an argument names them.
_TOO_WIDE = ("/", "/boot", "/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/var")  # noqa: S108
_LONGEST_LINE = 256
_MOST_LINKS = 8


def needed(command: str, args: Sequence[str], path: str) -> list[str]:
    """Return the folders and files, outside of the system's, that the command and its arguments name."""
    visible = dict.fromkeys(_of_program(command, path))
    for arg in args:
        visible.update(dict.fromkeys(_of_argument(arg)))
    return [each for each in visible if not is_within(each, SYSTEM)]


def is_within(path: str, folders: Iterable[str]) -> bool:
    """Whether the path is one of the folders, or in one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _of_program(command: str, path: str, depth: int = 0) -> Iterator[str]:
    program = shutil.which(command, path=path)
    if program is None or depth > _MOST_LINKS:
        return
    for hop in _links(str(Path(program).absolute())):
        yield from _installation(hop)
    for word in _interpreter(program):
        yield from _of_program(word, path, depth + 1)


def _links(path: str) -> Iterator[str]:
    """Yield the path, and what it leads to link by link."""
    for _ in range(_MOST_LINKS):
        yield path
        if not Path(path).is_symlink():
            return
        path = os.path.normpath(Path(path).parent / Path(path).readlink())


def _installation(program: str) -> Iterator[str]:
    """Yield what a program was installed with: an environment of Python, a prefix with `lib`, packages of Node."""
    if is_within(program, SYSTEM):
        return
    before, packages, _ = program.partition("/node_modules/")
    if packages:
        yield f"{before}/node_modules"
        return
    folder = Path(program).parent
    prefix = folder.parent
    if folder.name != "bin" or is_personal(prefix) or not ((prefix / "lib").is_dir() or _settings(prefix).is_file()):
        yield program
        return
    yield str(prefix)
    if _settings(prefix).is_file() and (home := re.search(r"(?m)^home *= *(/.*)$", _text(_settings(prefix)))):
        for hop in _links(f"{home[1].strip()}/python3"):
            yield from _installation(hop)


def _settings(prefix: Path) -> Path:
    return prefix / "pyvenv.cfg"


def is_personal(folder: Path) -> bool:
    """Whether the folder is where people keep what is theirs."""
    return str(folder) in _TOO_WIDE or folder == Path.home() or folder.name == ".local"


def _interpreter(program: str) -> list[str]:
    """Return the program that the first line of a script names."""
    try:
        with Path(program).open("rb") as file:
            line = file.readline(_LONGEST_LINE)
    except OSError:
        return []
    words = line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        return [word for word in words[1:] if not word.startswith("-")][:1]
    return words[:1]


def _of_argument(arg: str) -> Iterator[str]:
    """Yield the existing file or folder that the argument, or its value after `=`, names."""
    path = os.path.normpath(arg if arg.startswith("/") else arg.partition("=")[2])
    if not path.startswith("/") or is_personal(Path(path)) or not Path(path).exists():
        return
    before, packages, _ = path.partition("/node_modules/")
    yield f"{before}/node_modules" if packages else path


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:10_000]
    except OSError:
        return ""

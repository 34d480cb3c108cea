"""The sandbox of a command, as arguments of bubblewrap: https://github.com/containers/bubblewrap."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from agents_app.engine.sandbox.visible_paths import ETC, SYSTEM, is_within, needed
from agents_app.engine.spec import SandboxSpec

PROGRAM = "bwrap"
USER = "1000"  # as the command sees itself; to the system it is whoever started it
_SCRATCH = str(64 * 1024 * 1024)  # bytes of /tmp and of shared memory, which are in memory
_OWN_ETC = Path(__file__).with_name("etc")


def arguments(
    spec: SandboxSpec, command: str, args: Sequence[str], *, folder: str, path: str, seccomp: int | None
) -> list[str]:
    """Return the command line that runs the command in its sandbox. It looks at files: call it in a thread.

    `folder` is the one folder that it may write to, beside those of the specification. `path` is the command's PATH;
    `seccomp`: a descriptor of the filter for system calls.
    """
    return [
        PROGRAM,
        # Not the network's: the launcher has made one, which our proxy listens in.
        "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try", "--disable-userns",
        "--die-with-parent", "--cap-drop", "ALL", "--uid", USER, "--gid", USER,
        *(["--seccomp", str(seccomp)] if seccomp is not None else []),
        *_system(),
        *_visible(spec, [*needed(command, args, path), folder], folder),
        "--chdir", folder,
        "--remount-ro", "/proc",  # or root sets what is the machine's, although it has no capability
        "--remount-ro", "/dev",
        "--remount-ro", "/",
        "--", command, *args,
    ]  # fmt: skip


def _system() -> Iterator[str]:
    for folder in SYSTEM:
        if Path(folder).is_symlink():
            yield from ("--symlink", str(Path(folder).readlink()), folder)
        else:
            yield from ("--ro-bind-try", folder, folder)
    for name in ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    for own in sorted(_OWN_ETC.iterdir()):
        yield from ("--ro-bind", str(own), f"/etc/{own.name}")
    yield from ("--proc", "/proc", "--dev", "/dev")
    for scratch in ("/dev/shm", "/tmp"):  # noqa: S108 — the sandbox's own
        yield from ("--size", _SCRATCH, "--tmpfs", scratch)


def _visible(spec: SandboxSpec, read: Sequence[str], folder: str) -> Iterator[str]:
    """Yield what is shown of the rest, outer folders first, and what is hidden in it."""
    shown = dict.fromkeys(read, "--ro-bind-try")
    shown |= {path: "--bind" if may_write else "--ro-bind" for path, may_write in spec.folders}
    for path in sorted(shown.keys() - {folder}):
        if not is_within(path, spec.hidden):
            yield from (shown[path], path, path)
    for hidden in spec.hidden:
        if is_within(hidden, shown) and Path(hidden).exists():
            yield from _hide(hidden)
    yield from ("--bind", folder, folder)


def _hide(path: str) -> tuple[str, ...]:
    if Path(path).is_dir():
        return ("--size", "4096", "--tmpfs", path, "--remount-ro", path)
    return ("--ro-bind", "/dev/null", path)


def is_installed() -> bool:
    return shutil.which(PROGRAM) is not None

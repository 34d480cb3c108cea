# ruff: noqa: PTH108, PTH115, PTH208
"""A program that tries to get out of its sandbox, in every way that it knows, and says what each one got.

    python evil_program.py TARGETS

TARGETS is JSON: paths, ports and processes of the victim. It prints an object of `refused: …` or `GOT …` by attempt. It
needs no package, so that any Python runs it.
"""

import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
CALLS = {  # of x86-64 and aarch64
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "bpf": (321, 280), "keyctl": (250, 219), "mount": (165, 40),
    "io_uring_setup": (425, 425), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "setns": (308, 268),
    "unshare": (272, 97), "pivot_root": (155, 41), "chroot": (161, 51), "open_by_handle_at": (304, 265),
    "kexec_load": (246, 104), "init_module": (175, 105), "reboot": (169, 142), "umount2": (166, 39),
    "sethostname": (170, 161), "swapon": (167, 224),
}  # fmt: skip
MEGABYTE = 1024 * 1024
targets: dict = {}
attempts: dict[str, Callable[[], object]] = {}


class Refused(Exception):
    """It did not work."""


def attempt(name: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    def note(function: Callable[[], object]) -> Callable[[], object]:
        attempts[name] = function
        return function

    return note


def call(name: str, *arguments: object) -> int:
    number = CALLS[name][os.uname().machine == "aarch64"]
    result = LIBC.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def read(path: str) -> bytes:
    return Path(path).read_bytes()[:40]


def reading(name: str, path: Callable[[], str]) -> None:
    attempt(name)(lambda: read(path()))


def writing(name: str, path: Callable[[], str]) -> None:
    def write() -> str:
        with Path(path()).open("ab") as file:  # it writes nothing: if this works, the machine is not ours to break
            return f"opened {file.name}"

    attempt(name)(write)


def system_call(name: str, *arguments: object) -> None:
    attempt(f"system call {name}")(lambda: call(name, *arguments))


def connecting(name: str, address: Callable[[], tuple], family: int = socket.AF_INET) -> None:
    def connect() -> str:
        with socket.socket(family) as client:
            client.settimeout(2)
            client.connect(address())
            return "connected"

    attempt(name)(connect)


def through_the_proxy(name: str, url: Callable[[], str]) -> None:
    """Ask the sandbox's own proxy, by both of its ways."""

    def ask() -> str:
        proxy = os.environ.get("HTTP_PROXY", "")
        if not proxy:
            raise Refused("there is no proxy")
        host, port = proxy.rpartition("/")[2].split(":")
        where = url()
        for head in (f"CONNECT {where} HTTP/1.1", f"GET http://{where}/ HTTP/1.1"):
            with socket.create_connection((host, int(port)), timeout=5) as client:
                client.sendall(f"{head}\r\nHost: {where}\r\n\r\n".encode())
                answer = client.recv(4096)
                if answer.split(b" ")[1:2] not in ([b"403"], [b"502"]):
                    return answer[:60].decode("latin-1")
        raise Refused("the proxy says no")

    attempt(name)(ask)


# Files

reading("read the database", lambda: targets["database"])
reading("read the server's key", lambda: targets["key"])


@attempt("list the folder of data")
def list_data() -> list[str]:
    names = os.listdir(targets["var"])
    if names == ["mcp"]:  # the way to its own folder
        raise Refused("nothing in it")
    return names


attempt("list another server's folder")(lambda: os.listdir(targets["other_folder"]))
reading("read a file in a home", lambda: targets["home_file"])
reading("read /etc/shadow", lambda: "/etc/shadow")
writing("write to its own program", lambda: targets["program"])
writing("write to a folder that is shown", lambda: targets["shown"] + "/new")
writing("write to /usr/bin", lambda: "/usr/bin/evil")
writing("write to /etc/passwd", lambda: "/etc/passwd")
writing("write beside its folder", lambda: targets["folder"] + "/../new")
reading("read over .. from its folder", lambda: targets["folder"] + "/../other/secret")


@attempt("read the database over a symlink")
def over_a_symlink() -> bytes:
    link = Path(targets["folder"], "link")
    link.unlink(missing_ok=True)
    link.symlink_to(targets["database"])
    return read(str(link))


@attempt("read the database over a hard link")
def over_a_hard_link() -> bytes:
    link = Path(targets["folder"], "hard")
    os.link(targets["database"], link)
    return read(str(link))


reading("read over /proc/1/root", lambda: "/proc/1/root" + targets["database"])
attempt("list /sys")(lambda: os.listdir("/sys"))
attempt("list /run")(lambda: os.listdir("/run"))
reading("read a hidden folder in a shown one", lambda: targets["shown"] + "/hidden/secret")

# Other processes


@attempt("see other processes")
def others() -> list[int]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    if len(pids) <= 4:  # the sandbox's first process, and those of this program
        raise Refused(f"{len(pids)} processes")
    return pids


@attempt("read the environment of its parent")
def environment_of_others() -> bytes:
    for pid in ("1", str(os.getppid()), str(targets["pid"])):
        if b"CANARY" in (data := Path(f"/proc/{pid}/environ").read_bytes()):
            return data[:40]
    raise Refused("no secret in it")


reading("read the memory of its parent", lambda: f"/proc/{targets['pid']}/mem")
attempt("signal the server")(lambda: os.kill(targets["pid"], 0) or "signalled")


@attempt("trace its parent")
def trace() -> int:
    return call("ptrace", 16, os.getppid(), 0, 0)


system_call("process_vm_readv", 1, 0, 0, 0, 0, 0)


@attempt("leave a process behind")
def leave_a_daemon() -> str:
    """The victim looks for it afterwards."""
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(300)", targets["mark"]])
        os._exit(0)
    os.wait()
    raise Refused("the victim looks for it")


# The kernel

writing("write to /proc/sys/kernel/core_pattern", lambda: "/proc/sys/kernel/core_pattern")
writing("write to /proc/sysrq-trigger", lambda: "/proc/sysrq-trigger")
reading("read the kernel's memory", lambda: "/proc/kcore")
reading("read the machine's memory", lambda: "/dev/mem")
reading("read the kernel's log", lambda: "/proc/kmsg")
attempt("make a device of the disk")(
    lambda: os.mknod(targets["folder"] + "/disk", 0o60600, os.makedev(254, 0)) or "made"
)
attempt("become root")(lambda: os.setuid(0) or f"uid {os.getuid()}")


@attempt("run a setuid program")
def setuid_program() -> str:
    result = subprocess.run(["su", "-c", "id", "root"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise Refused(result.stderr.strip()[:60])
    return result.stdout


@attempt("have capabilities")
def capabilities() -> str:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")]
    if int(line.split()[1], 16) == 0:
        raise Refused("none")
    return line


@attempt("overwrite /proc/self/exe")
def overwrite_itself() -> str:
    descriptor = os.open("/proc/self/exe", os.O_WRONLY)
    return f"descriptor {descriptor}"


@attempt("type into a terminal")
def type_into_a_terminal() -> str:
    leader, follower = os.openpty()
    try:
        fcntl.ioctl(follower, 0x5412, b"x")
    finally:
        os.close(leader)
        os.close(follower)
    return "typed"


system_call("mount", b"none", b"/tmp", b"tmpfs", 0, 0)
system_call("umount2", b"/", 0)
system_call("unshare", 0x10000000)
system_call("setns", 0, 0)
system_call("pivot_root", b"/", b"/")
system_call("chroot", b"/")
system_call("open_by_handle_at", 0, 0, 0)
system_call("bpf", 0, 0, 0)
system_call("perf_event_open", 0, 0, 0, 0, 0)
system_call("keyctl", 0, 0, 0)
system_call("io_uring_setup", 1, 0)
system_call("userfaultfd", 0)
system_call("kexec_load", 0, 0, 0, 0)
system_call("init_module", 0, 0, 0)
system_call("reboot", 0, 0, 0)
system_call("swapon", b"/tmp/x", 0)
system_call("sethostname", b"evil", 4)

# The network

connecting("connect to the server's port", lambda: ("127.0.0.1", targets["port"]))
connecting("connect to this machine's address", lambda: (targets["own_address"], targets["port"]))
connecting("connect to a cloud's credentials", lambda: ("169.254.169.254", 80))
connecting("connect to the internet", lambda: ("1.1.1.1", 443))
connecting("connect to an abstract socket", lambda: "\0" + targets["abstract"], socket.AF_UNIX)
connecting("connect to a socket in a folder", lambda: targets["socket"], socket.AF_UNIX)


@attempt("open a raw socket")
def raw_socket() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        return str(raw)


@attempt("ask a name server")
def name_server() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"\0" * 12, ("8.8.8.8", 53))
        return "sent"


through_the_proxy("by the proxy: 127.0.0.1", lambda: f"127.0.0.1:{targets['port']}")
through_the_proxy("by the proxy: localhost", lambda: f"localhost:{targets['port']}")
through_the_proxy("by the proxy: ::1", lambda: f"[::1]:{targets['port']}")
through_the_proxy("by the proxy: 0.0.0.0", lambda: f"0.0.0.0:{targets['port']}")
through_the_proxy("by the proxy: 2130706433", lambda: f"2130706433:{targets['port']}")
through_the_proxy("by the proxy: ::ffff:127.0.0.1", lambda: f"[::ffff:127.0.0.1]:{targets['port']}")
through_the_proxy("by the proxy: this machine", lambda: f"{targets['own_address']}:{targets['port']}")
through_the_proxy("by the proxy: a cloud's credentials", lambda: "169.254.169.254:80")
through_the_proxy("by the proxy: a private network", lambda: "10.0.0.1:80")

# What there is of the machine


@attempt("inherit a descriptor")
def descriptors() -> list[str]:
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    if len(numbers) <= 4:  # the standard ones, and the one that reads the list
        raise Refused("none")
    return [os.readlink(f"/proc/self/fd/{number}") for number in numbers[:-1]]


@attempt("find a secret in its environment")
def environment() -> str:
    if "CANARY" not in str(os.environ):
        raise Refused("none")
    return "a secret"


@attempt("write a file above its limit")
def large_file() -> str:
    with Path(targets["folder"], "large").open("wb") as file:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            file.truncate(targets["file_size"] + 1)
        finally:
            os.unlink(file.name)
    return "wrote"


def _fill(folder: str) -> str:
    paths = [Path(folder, f"fill-{number}") for number in range(65)]
    try:
        for path in paths:
            path.write_bytes(b"\1" * MEGABYTE)
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
    return "65 MB"


attempt("fill /tmp")(lambda: _fill("/tmp"))
attempt("fill /dev/shm")(lambda: _fill("/dev/shm"))
writing("write to /dev", lambda: "/dev/new")
writing("write to /", lambda: "/new")


@attempt("use memory above its limit")
def memory() -> str:
    with mmap.mmap(-1, targets["memory"], flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
        return "mapped"


@attempt("use more processes than its limit")
def processes() -> str:
    children: list[int] = []
    try:
        while len(children) <= targets["processes"]:
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
        return f"{len(children)} processes"
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@attempt("raise its limits")
def raise_limits() -> str:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
    return "raised"


def outcomes() -> Iterator[tuple[str, str]]:
    for name, function in attempts.items():
        try:
            yield name, f"GOT {function()!r}"[:200]
        except Refused as refusal:
            yield name, f"refused: {refusal}"
        except (OSError, MemoryError, OverflowError, ValueError) as error:
            yield name, f"refused: {getattr(error, 'strerror', '') or type(error).__name__}"


if __name__ == "__main__":
    targets.update(json.loads(sys.argv[1]))
    assert struct.calcsize("P") == 8
    print(json.dumps(dict(outcomes())))

"""`scripts/cluster`: a cluster for as long as a command runs, or until Ctrl+C. It leaves nothing behind."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.harness import guard
from tests.harness.cluster import Cluster

EPILOG = """
COMMAND finds the cluster in its environment: CLUSTER_URL (nginx), CLUSTER_WEB_1 … (each web process),
CLUSTER_TOKEN (an administrator's token; empty where nobody has to sign in: AUTH_REQUIRED=true before the call
changes that) and CLUSTER_PROCESSES: a JSON file, name → pid, command, env and cwd, with which a process that was
killed can be started again.
"""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 10  # seconds that COMMAND has to end


class Interrupted(BaseException):
    """A signal asks us to end."""

    def __init__(self, number: int) -> None:
        self.number = number


def main(arguments: list[str]) -> int:
    options, command = _options(arguments)
    status = 1
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="cluster-")), web=options.web, workers=options.workers)
    guard.watch(cluster.folder)
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with cluster:
            status = _run(cluster, command) if options.verb == "run" else _stay(cluster)
    except Interrupted as interrupted:
        # Ctrl+C is how `up` is meant to end.
        status = 0 if options.verb == "up" else 128 + interrupted.number
    except RuntimeError as error:
        print(error, file=sys.stderr)
    finally:
        guard.sweep([cluster.folder])
        guard.forget(cluster.folder)
        if status:
            print(f"The cluster's logs are in {cluster.folder}", file=sys.stderr)
        else:
            shutil.rmtree(cluster.folder)
    return status


def _options(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    ours, command = arguments[:at], arguments[at + 1 :]
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--web", type=_count, default=2, metavar="N", help="web processes (2)")
    shared.add_argument("--workers", type=_count, default=2, metavar="N", help="workers (2)")
    parser = argparse.ArgumentParser(prog="scripts/cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", parents=[shared], help="run a command beside it", epilog=EPILOG)
    run.usage = "scripts/cluster run [--web N] [--workers N] -- COMMAND…"
    verbs.add_parser("up", parents=[shared], help="keep it until Ctrl+C")
    options = parser.parse_args(ours)
    if (options.verb == "run") != bool(command):
        run.error("there is no COMMAND after --" if options.verb == "run" else "up takes no COMMAND")
    return options, command


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """The first takes everything down in order. The second is us gone, and the guard kills the rest."""
    for other in SIGNALS:
        signal.signal(other, lambda *_: os._exit(128 + number))
    raise Interrupted(number)


def _run(cluster: Cluster, command: list[str]) -> int:
    # The mark finds what COMMAND leaves in the background. It stays in our group: Ctrl+C is for it too.
    environment = os.environ | cluster.variables() | {guard.MARK: str(cluster.folder)}
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    try:
        _wait(cluster, process)
    except Interrupted as interrupted:
        _end(process, informed=interrupted.number == signal.SIGINT and sys.stdin.isatty())
        raise
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _wait(cluster: Cluster, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        cluster.ended()
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            pass


def _end(process: "subprocess.Popen[bytes]", *, informed: bool) -> None:
    """Let COMMAND end; the terminal has told it already where it was Ctrl+C."""
    if not informed:
        process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _stay(cluster: Cluster) -> NoReturn:
    for name, value in cluster.variables().items():
        print(f"{name}={value}")
    print(f"Logs are in {cluster.folder}. Chat at {cluster.url}/chat/. Stop with Ctrl+C.", flush=True)
    reported: set[str] = set()
    while True:
        ended = set(cluster.ended())
        for name in sorted(ended - reported):
            print(f"{name} ended; its log: {cluster.log(name)}", flush=True)
        reported = ended
        time.sleep(0.2)

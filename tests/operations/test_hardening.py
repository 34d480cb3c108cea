"""What a process of ours hides from other programs of its user."""

import subprocess
import sys

import pytest

from agents_app.management.commands.serve import Command as Serve
from agents_app.management.commands.worker import Command as Worker
from agents_app.server import hardening
from tests.harness.paths import ROOT

LOOK = """
import os, sys, django
from django.conf import settings
from agents_app.server import hardening
settings.configure(DUMPABLE=sys.argv[1] == "dumpable")
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    import ctypes; ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of the user made it undumpable
hardening.hide_memory()
if os.fork() == 0:
    for name in ("environ", "mem"):
        try:
            open(f"/proc/{os.getppid()}/{name}", "rb").close()
            print("read", flush=True)
        except PermissionError:
            print("hidden", flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize(("mode", "seen"), [("dumpable", "read"), ("hidden", "hidden")])
def test_a_program_of_the_same_user_reads_neither_environment_nor_memory(mode, seen):
    command = [sys.executable, "-c", LOOK, mode]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == [seen, seen], done.stderr


class Hidden(Exception):
    pass


@pytest.mark.parametrize("command", [Serve(), Worker()])
def test_web_processes_and_workers_hide_first_of_all(command, monkeypatch):
    def hide() -> None:
        raise Hidden

    monkeypatch.setattr(hardening, "hide_memory", hide)
    with pytest.raises(Hidden):
        command.handle(host="127.0.0.1", port=1, concurrency=1)

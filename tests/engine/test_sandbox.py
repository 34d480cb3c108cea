"""What a hostile program gets in its sandbox: nothing of ours."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness.fakes import evil_program
from tests.harness.paths import ROOT

EVIL = Path(evil_program.__file__)
MEMORY, PROCESSES, FILE_SIZE = 300 * 1024**2, 40, 1024**2
PARTS = ("__init__.py", "background.py", "network.py", "per_loop.py", "engine")
# Starts it as the product does, prints what it prints, and waits until its end has been seen through.
VICTIM = """
import asyncio, json, os, sys
from agents_app.engine import sandbox
from agents_app.engine.spec import ProcessLimits, SandboxSpec

async def main():
    options = json.loads(sys.argv[1])
    options["targets"]["pid"] = os.getpid()
    limits = ProcessLimits(
        memory=options["memory"], processes=options["processes"], file_size=options["file_size"], open_files=256
    )
    spec = SandboxSpec(options["network"], folders=((options["shown"], False),), hidden=tuple(options["hidden"]))
    command = sandbox.Command(
        "evil", sys.executable, (options["evil"], json.dumps(options["targets"])), (), options["folder"], limits, spec
    )
    process = await sandbox.start(command)
    out, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
    await process.end()
    print(json.dumps({"out": out.decode(), "errors": errors.decode(), "refused": process.refused}))

asyncio.run(main())
"""


@pytest.fixture
def ground(tmp_path) -> Iterator[Path]:
    """A folder that an ordinary user reaches too, and that the sandbox does not show by itself."""
    folder = Path("/var/tmp") / tmp_path.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def victim(ground: Path, *, ordinary: bool, network: bool) -> dict[str, Any]:
    """Let the evil program try everything, and return what it says, and what is left of it."""
    var, shown = ground / "var", ground / "shown"
    for folder in (var / "mcp" / "evil", var / "mcp" / "other", shown / "hidden", ground / "home"):
        folder.mkdir(parents=True)
    for secret in (var / "db", var / "key", var / "mcp/other/secret", shown / "hidden/secret", ground / "home/id_rsa"):
        secret.write_text("CANARY")
    program, python = EVIL, sys.executable
    if ordinary:
        program, python = shutil.copy(EVIL, ground / "evil.py"), "/usr/bin/python3"
        for part in PARTS:
            (shutil.copytree if part == "engine" else shutil.copy)(ROOT / "agents_app" / part, _code(ground) / part)
        for path in (ground, *ground.rglob("*")):
            shutil.chown(path, "nobody")
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as named:
        listener.bind(("0.0.0.0", 0))
        abstract.bind(f"\0{ground.name}")
        named.bind(str(var / "socket"))
        for server in (listener, abstract, named):
            server.listen()
        targets = {
            "var": str(var), "database": str(var / "db"), "key": str(var / "key"), "folder": str(var / "mcp/evil"),
            "other_folder": str(var / "mcp/other"), "home_file": str(ground / "home/id_rsa"), "shown": str(shown),
            "program": str(program), "port": listener.getsockname()[1], "own_address": _own_address(),
            "abstract": ground.name, "socket": str(var / "socket"), "mark": ground.name, "file_size": FILE_SIZE,
            "memory": MEMORY, "processes": PROCESSES,
        }  # fmt: skip
        options = {
            "targets": targets, "network": network, "shown": str(shown), "hidden": [str(var), str(shown / "hidden")],
            "evil": str(program), "folder": str(var / "mcp/evil"), "memory": MEMORY, "processes": PROCESSES,
            "file_size": FILE_SIZE,
        }  # fmt: skip
        result = subprocess.run(
            [python, "-c", VICTIM, json.dumps(options)],
            cwd=_code(ground).parent if ordinary else ROOT,
            env={"PATH": os.environ["PATH"], "CANARY": "CANARY"},
            user="nobody" if ordinary else None,
            group="nogroup" if ordinary else None,
            extra_groups=[] if ordinary else None,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert result.returncode == 0, result.stderr
    response = json.loads(result.stdout)
    assert response["out"], response["errors"]
    left = [process for process in psutil.process_iter(["cmdline"]) if ground.name in (process.info["cmdline"] or [])]
    return json.loads(response["out"]) | {"left": left, "refused": response["refused"]}


def _code(ground: Path) -> Path:
    folder = ground / "code" / "agents_app"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _own_address() -> str:
    """The address of this machine in a network, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.mark.parametrize(
    ("ordinary", "network"), [(False, True), (False, False), (True, True)], ids=["root", "root-strict", "ordinary"]
)
def test_a_hostile_program_gets_nothing(ground, ordinary, network):
    if ordinary and os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    outcomes = victim(ground, ordinary=ordinary, network=network)
    assert outcomes.pop("left") == []
    refused = outcomes.pop("refused")
    if not ordinary:  # the kernel limits no processes of root; cgroups do
        assert "41 processes" in outcomes.pop("use more processes than its limit")
    if network:
        assert any(text.startswith("127.0.0.1:") for text in refused)
    assert {name: outcome for name, outcome in outcomes.items() if not outcome.startswith("refused")} == {}
    assert len(outcomes) > 40


def test_the_documentation_lists_every_attempt():
    listed = (ROOT / "docs/security.md").read_text()
    assert [name for name in evil_program.attempts if f"| {name} |" not in listed] == []

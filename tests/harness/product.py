"""The product itself as a process: `manage.py serve` in a folder and on a port of its own."""

import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.harness import zygote
from tests.harness.daemon import free_port
from tests.harness.paths import ROOT

READY = "Stop with Ctrl+C."


def copy_migrated_database(target: Path) -> None:
    """Where there is no such database, make one that is migrated and otherwise empty."""
    if not target.exists():
        shutil.copyfile(_migrated_database(), target)


def migrated(kind: str) -> Path:
    """Where the tests keep a database that is migrated and otherwise empty: one for each state of the migrations."""
    files = sorted([*ROOT.glob("*_app/migrations/*.py"), ROOT / "constraints.txt"])
    state = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    kept = ROOT / "var" / "test-tools"
    kept.mkdir(parents=True, exist_ok=True)
    return kept / f"migrated-{state}.{kind}"


@functools.cache
def _migrated_database() -> Path:
    made = migrated("sqlite3")
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=made.parent) as folder:
            environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"} | {"VAR_DIR": folder}
            command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
            (Path(folder) / "db.sqlite3").replace(made)
    return made


class Product:
    """A running server. It can be killed, and started again on the same data and port.

    Where `token` is set, requests are made with it.
    """

    token = ""
    is_migrated = True  # begins with a database whose tables are there: that saves each test two seconds of computing

    is_forked = True  # from the zygote, without the start of Python

    def __init__(self, var_dir: Path, **environment: str) -> None:
        self.var_dir = var_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = var_dir / "serve.log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "ANTHROPIC_", "DJANGO_"))}
        ours = {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "VAR_DIR": str(var_dir),
            "CHAT_RATE_PER_MINUTE": "100000",
        }
        self.environment = inherited | ours | environment
        self.process: Any = None  # as `zygote.start` returns it

    def __enter__(self) -> "Product":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "manage.py", *arguments]

    def start(self, timeout: float = 180) -> None:
        """Start the server and return when it says that it serves."""
        self.var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.is_migrated and "DATABASE_URL" not in self.environment:
            copy_migrated_database(self.var_dir / "db.sqlite3")
        self.process = zygote.start(
            self.command("serve", "--port", str(self.port)),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            fork=self.is_forked,
        )
        ready = threading.Event()
        threading.Thread(target=self._copy_output, args=(self.process, ready), daemon=True).start()
        if not ready.wait(timeout) or self.process.poll() is not None:
            self.stop()
            raise RuntimeError(f"The server did not start:\n{self.log.read_text()[-3000:]}")

    def _copy_output(self, process: Any, ready: threading.Event) -> None:
        with self.log.open("a") as log, process.stdout:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if READY in line:
                    ready.set()
        ready.set()

    def logged(self) -> str:
        """All that it has logged."""
        return self.log.read_text()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout: float = 60) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()

    def socket_url(self, session: str, **query: object) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/chat/{session}?{urllib.parse.urlencode(query)}"

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an HTTP request."""
        data = None if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            named.setdefault("Authorization", f"Bearer {self.token}")
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"} | named, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text else None

    def add_agent(self, name: str, base_url: str, **fields: Any) -> None:
        """An agent on an OpenAI-compatible server, whose model has the agent's name."""
        provider = "p" + urllib.parse.urlsplit(base_url).netloc.replace(":", "-")
        agent = {"name": name, "provider": provider, "model": name, **fields}
        status, answer = self.request("POST", "/v1/agents", agent)
        if status == 400 and answer["error"]["param"] == "provider":  # its first agent on this server
            created = {"name": provider, "kind": "openai", "base_url": base_url, "api_key": "test"}
            status, answer = self.request("POST", "/v1/providers", created)
            assert status == 201, answer
            status, answer = self.request("POST", "/v1/agents", agent)
        assert status == 201, answer

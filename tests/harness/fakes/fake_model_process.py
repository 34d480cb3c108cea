"""The fake model as a process of its own, held by a synchronous handle."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

from tests.harness.paths import ROOT

# The server answers a long-poll itself; the socket only has to outlast it.
GRACE = 60
# A proxy from the environment must never see what goes to 127.0.0.1.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def tool_results(request: dict[str, Any]) -> list[str]:
    """The results of tools in one request to the model."""
    return [message["content"] for message in request["messages"] if message["role"] == "tool"]


class FakeModel:
    """Start a fake model server; script it, let it go on, and ask what it was told."""

    module = "tests.harness.fakes.fake_model"

    def __init__(self, *, port: int = 0) -> None:
        command = [
            sys.executable,
            "-m",
            self.module,
            "--until-stdin-closes",
            "--port",
            str(port),
        ]
        # Nothing is written to stdin: its end tells the server that we are gone, whatever thread started it.
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError(f"The fake model did not start: exit status {self.process.returncode}.")
        self.port: int = json.loads(line)["port"]
        self.root = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.root}/v1"

    def __enter__(self) -> FakeModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def script(
        self,
        name: str,
        turns: list[list[dict[str, Any]]],
        *,
        window: int | None = None,
        summary: list[dict[str, Any]] | None = None,
        **listing: Any,
    ) -> None:
        """Say what the model called `name` answers, turn by turn. `listing`: its fields in the list of models.

        `window`: in tokens of four bytes; it refuses requests that are longer. `summary`: the turn that answers a
        request to summarize.
        """
        script = {"turns": turns, "listing": listing, "window": window, "summary": summary}
        self._ask("PUT", f"/scripts/{quote(name)}", script)

    def release(self, gate: str) -> None:
        """Let everybody through who waits at the gate, now and later."""
        self._ask("POST", f"/gates/{quote(gate)}")

    def requests(self, name: str | None = None) -> list[dict[str, Any]]:
        """List the requests so far, oldest first."""
        return self._find(name, count=0, timeout=0)

    def wait_for_request(self, name: str, count: int = 1, timeout: float = 60) -> list[dict[str, Any]]:
        """Wait until the model was asked `count` times."""
        return self._find(name, count=count, timeout=timeout)

    def wait_for_abort(self, name: str, count: int = 1, timeout: float = 60) -> list[dict[str, Any]]:
        """Wait until `count` clients hung up before the end of their answer."""
        return self._find(name, count=count, timeout=timeout, aborted=1)

    def reset(self) -> None:
        """Forget scripts, gates and requests, and hang up on whoever is still being answered."""
        self._ask("POST", "/reset")

    def stop(self) -> None:
        """End the process; a second call does nothing."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _find(self, name: str | None, *, timeout: float, **query: Any) -> list[dict[str, Any]]:
        if name is not None:
            query["model"] = name
        path = f"/requests?{urlencode({'timeout': timeout, **query})}"
        try:
            return self._ask("GET", path, timeout=timeout + GRACE)
        except TimeoutError as error:
            raise TimeoutError(f"After {timeout} s, not there yet: {query}. Seen: {error}") from None

    def _ask(self, method: str, path: str, body: Any = None, *, timeout: float = GRACE) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data=data, method=method)
        try:
            with OPENER.open(request, timeout=timeout) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                words = error.read().decode()
            if error.code == 504:
                raise TimeoutError(words) from None
            raise ValueError(words) from None

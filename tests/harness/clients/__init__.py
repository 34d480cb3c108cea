"""Clients of OpenAI's API that nobody here wrote, each as a process that prints JSON: see the scripts beside."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.harness.daemon import program
from tests.harness.paths import ROOT

FOLDER = ROOT / "var" / "test-tools" / "clients"
HERE = Path(__file__).parent
NEWEST, OLDER, JAVASCRIPT, LANGCHAIN, LITELLM = "newest", "older", "javascript", "langchain", "litellm"
# LiteLLM would fetch its table of prices.
_ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false"}


def _command(name: str) -> list[str]:
    match name:
        case "newest":
            return [sys.executable, str(HERE / "openai_python.py")]
        case "older":
            return [_python(name), str(HERE / "openai_python.py")]
        case "javascript":
            return [program("node"), str(HERE / "openai_javascript.mjs")]
        case "javascript-files":
            return [program("node"), str(HERE / "openai_javascript_files.mjs")]
    return [_python(name), str(HERE / f"{name}_client.py")]


def _python(name: str) -> str:
    path = FOLDER / name / "bin" / "python"
    if not path.exists():
        raise RuntimeError(f"There is no {path}: run scripts/install-test-tools, which installs it.")
    return str(path)


class Client:
    """One of them at work. `asked` is what its script is told."""

    def __init__(self, name: str, **parameters: Any) -> None:
        self.name = name
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")}
        self.process = subprocess.Popen(
            [*_command(name), json.dumps({"folder": str(FOLDER / "node"), **parameters})],
            env=inherited | _ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def report(self) -> dict[str, Any]:
        """What it was answered, when it has ended."""
        out, problems = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, problems[-3000:]
        return json.loads(out.splitlines()[-1])

    def killed_after(self, deltas: int) -> list[dict[str, Any]]:
        """The events that it had received when it was killed with -9, in the midst of it."""
        assert self.process.stdout is not None
        events: list[dict[str, Any]] = []
        for line in self.process.stdout:
            events.append(json.loads(line))
            if sum(event["type"] == "response.output_text.delta" for event in events) == deltas:
                break
        self.close()
        return events

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

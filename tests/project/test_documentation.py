"""The documentation: every example in it is run against a real server, and it builds without a warning."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from markdown_it import MarkdownIt

from agents_app.configuration.parsing import KINDS
from chat_app.websocket.schema import SCHEMA
from tests.harness import zygote
from tests.harness.paths import ROOT
from tests.harness.product import Product

DOCS = ROOT / "docs"
RUN = {"bash", "python", "json", "yaml"}  # all others are to be read
ADDRESS = re.compile(r"(127\.0\.0\.1|localhost):8000")
SECRETS = {"LAB_KEY": "test", "TICKETS_AUTHORIZATION": "test"}
_FRAMES = jsonschema.Draft202012Validator(SCHEMA | {"oneOf": [{"$ref": "#/$defs/server"}, {"$ref": "#/$defs/client"}]})


def contents() -> list[Path]:
    """The pages, in the order of the table of contents; README, which comes first, is one of them."""
    listed = (DOCS / "index.md").read_text().partition("```{toctree}")[2].partition("```")[0].split()
    pages = [DOCS / f"{name}.md" for name in listed if not name.startswith((":", "*"))]
    return [ROOT / "README.md", *pages, *sorted(set(DOCS.glob("*.md")) - {*pages, DOCS / "index.md"})]


PAGES = contents()
# What a reader of `configuration.md` has already.
PREDECESSOR = {
    "llm.yaml": """
llm:
  providers: {qwen: {sdk: qwen, base_url: "http://qwen.test/v1"}}
  models: [{name: qwen-3.5-max, provider: qwen}]
  default_model: qwen-3.5-max
""",
    "agents.yaml": "agents: [{name: researcher, llm_model: qwen-3.5-max}]",
    "mcp_servers.yaml": "mcp_servers: [{name: files, transport: stdio, command: npx, args: [server-files]}]",
}


def examples(page: Path) -> list[tuple[str, int, str]]:
    """Language, line and text of a page's examples that are run."""
    tokens = MarkdownIt().parse(page.read_text())
    fences = [(token.info.strip(), token.map[0] + 1, token.content) for token in tokens if token.type == "fence"]
    return [fence for fence in fences if fence[0] in RUN]


@pytest.fixture(scope="module")
def documented(tmp_path_factory, model):
    """A server as a newcomer has it, but for the model: that says hello to whatever it is told."""
    folder = tmp_path_factory.mktemp("docs")
    model.script("documentation", [[{"reasoning": "Let me see. "}, {"text": "Hello from the documentation."}]])
    with Product(folder / "var", **SECRETS) as product:
        about = {
            "name": "documentation",
            "kind": "openai",
            "base_url": model.base_url,
            "default_model": "documentation",
        }
        status, answer = product.request("POST", "/v1/providers", {**about, "api_key": "test", "is_default": True})
        assert status == 201, answer
        yield product
        product.stop()
        assert "Traceback" not in product.logged()


def surroundings(product, folder):
    """The environment of an example: `manage.py` is a command, and a `curl` that is refused fails."""
    command = folder / "bin" / "manage.py"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/manage.py "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    (folder / ".curlrc").write_text("fail-with-body\nshow-error\nmax-time = 30\n")
    return product.environment | {"PATH": f"{command.parent}:{os.environ['PATH']}", "CURL_HOME": str(folder)}


def play(language, text, product, folder):
    """Run one example; returns what is wrong with it, or nothing."""
    text = ADDRESS.sub(f"127.0.0.1:{product.port}", text)
    if language == "json":
        value = json.loads(text)
        if isinstance(value, dict) and isinstance(value.get("type"), str) and {"seq", "payload"} & set(value):
            _FRAMES.validate(value)
        return ""
    if language == "yaml":
        value = yaml.safe_load(text)
        if not set(value) <= set(KINDS):
            return ""
        (folder / "example.yaml").write_text(text)
        command = [str(ROOT / "manage.py"), "load_config", "--dry-run", str(folder / "example.yaml")]
        command.insert(0, sys.executable)
    else:
        command = ["bash", "-euo", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-c", text]
    environment = surroundings(product, folder)
    done = zygote.run(command, cwd=folder, env=environment)
    return "" if done.returncode == 0 else f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}"


@pytest.mark.slow
def test_every_example_works(documented, tmp_path):
    """In order, as somebody does who reads from the first page to the last."""
    for name, text in PREDECESSOR.items():
        (tmp_path / "old").mkdir(exist_ok=True)
        (tmp_path / "old" / name).write_text(text)
    wrong, ran = [], 0
    for page in PAGES:
        for language, line, text in examples(page):
            ran += 1
            if output := play(language, text, documented, tmp_path):
                wrong.append(f"{page.name}:{line}\n{output}")
    assert not wrong, "\n\n".join(wrong)
    assert ran >= 20


def test_every_link_between_pages_leads_somewhere():
    for page in [*PAGES, DOCS / "index.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.name} leads to {target}"


@pytest.mark.slow
def test_it_builds_without_a_warning():
    done = subprocess.run([ROOT / "scripts" / "build-docs"], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (ROOT / "var" / "docs" / "html" / "quick-start.html").exists()

"""The names of libraries that they do not promise and we use: the table of docs/design.md, "Borrowed internals".

Libraries are read, not imported: some act when they are imported.
"""

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.paths import ROOT

PACKAGES = ("agents_app", "chat_app", "scheduler_project")
# Documented by Python and Django in spite of the underscore, and one that is a fallback for a name that may be missing.
DOCUMENTED = {"_exit", "_replace", "_meta", "_base_manager", "_default_manager", "_producer"}
ROW = re.compile(r"^\| `([\w/.]+)` \| `([\w.]+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str, str]]:
    """Module of ours, class or module of a library, name, reason."""
    section = (ROOT / "docs/design.md").read_text().partition("## Borrowed internals")[2].partition("\n## ")[0]
    return [
        (ours, library, name, reason)
        for ours, library, names, reason in ROW.findall(section)
        for name in re.findall(r"`(\w+)`", names)
    ]


@pytest.mark.parametrize(("ours", "library", "name", "reason"), rows())
def test_a_borrowed_name_is_still_there(ours, library, name, reason):
    assert name in names_of(library), f"{library} has no {name} any more. {ours} uses it: {reason}"


def test_the_table_is_complete():
    listed = {name for _, _, name, _ in rows()}
    assert rows()
    missing = {name: places for name, places in foreign_private_names().items() if name not in listed | DOCUMENTED}
    assert not missing, f"Add a row to docs/design.md, Borrowed internals: {missing}"


def test_the_modules_of_the_table_use_the_names():
    for ours, _, name, _ in rows():
        path = ROOT / ours
        files = [path] if path.suffix else path.rglob("*.py")
        assert any(re.search(rf"\b{name}\b", file.read_text()) for file in files), (
            f"{ours} does not use {name}: delete it"
        )


def test_daphne_still_binds_the_protocol_to_send():
    source = source_of("daphne.server")
    assert "partial(self.handle_reply, protocol)" in source, (
        "daphne passes another `send` to applications. agents_app/server/daphne takes the protocol from send.args[0]"
    )


def test_the_mcp_sdk_still_says_that_a_connection_closed():
    dispatcher, http = source_of("mcp.shared.jsonrpc_dispatcher"), source_of("mcp.client.streamable_http")
    assert 'message="Connection closed"' in dispatcher and '"SSE stream ended' in http, (
        "The MCP SDK words the end of a connection differently. _is_end in agents_app/engine/mcp/session.py compares it"
    )


@functools.cache
def source_of(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, f"There is no module {module}"
    return Path(spec.origin).read_text()


def names_of(path: str) -> set[str]:
    """The names that a class defines, or its methods assign to; the class itself must define them."""
    module, _, class_name = path.rpartition(".")
    tree = ast.parse(source_of(module))
    [body] = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == class_name]
    return set(defined_in(body))


def defined_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store() | ast.Del()) | ast.Name(id=name, ctx=ast.Store()):
                yield name


def foreign_private_names() -> dict[str, list[str]]:
    """Names with an underscore that our code takes from objects and does not define anywhere."""
    used: dict[str, list[str]] = {}
    ours: set[str] = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            tree = ast.parse(file.read_text())
            ours.update(defined_in(tree))
            for name, line in private_uses(tree):
                used.setdefault(name, []).append(f"{file.relative_to(ROOT)}:{line}")
    # What we set on a library's object is defined by that, and looks like ours.
    return {name: places for name, places in used.items() if name not in ours}


def private_uses(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load(), lineno=line):
                pass
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_], lineno=line):
                pass
            case ast.ImportFrom(module=str(name), lineno=line) if "._" in name:
                name = name[name.index("._") + 1 :]
            case _:
                continue
        if name.startswith("_") and not name.startswith("__"):
            yield name, line

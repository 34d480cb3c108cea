"""Imports point one way: the rows of docs/design.md, checked over the syntax trees."""

import ast
import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.paths import ROOT

# One row per package. A package imports only packages of rows above its own, and itself.
ROWS: list[tuple[str, list[str]]] = [
    (
        "Words and errors that everything shares.",
        ["exceptions", "clock", "background", "network", "notifier", "per_loop", "foreign_text", "exact_json"],
    ),
    ("Watching, and when something is due: pure.", ["observability", "schedules"]),
    ("Threads, errors and locks of the database.", ["database"]),
    ("One turn of an agent. No Django.", ["engine"]),
    ("The rows, and the channel layer.", ["models", "live"]),
    ("The log, who may, and how a run reaches a worker.", ["event_log", "access", "queue"]),
    ("Files, and the parts of messages.", ["files"]),
    ("Start, cancel, approve and price runs.", ["runs"]),
    ("Fire tasks, try integrations, keep the data.", ["scheduler", "integrations", "maintenance"]),
    ("Tools of a run that act on this server.", ["tools"]),
    ("Claim and execute runs.", ["worker"]),
    ("REST.", ["api"]),
    ("Other ways in for administrators and programs.", ["configuration", "mcp_server", "admin", "doctor"]),
    ("The serving process.", ["server"]),
    ("Django's entry points.", ["management", "templatetags", "checks", "apps"]),
]
CHAT_APP_ROW = len(ROWS)
PROJECT_ROW = CHAT_APP_ROW + 1
ROW_OF = {name: row for row, (_, names) in enumerate(ROWS) for name in names}

# Inside the engine modules have an order of their own.
ENGINE_ORDER = {
    "agents_app.engine.arguments": 0,
    "agents_app.engine.spec": 0,
    "agents_app.engine.events": 0,
    "agents_app.engine.foreign_schema": 0,
    "agents_app.engine.toolset": 0,
    "agents_app.engine.web": 0,
    "agents_app.engine.sandbox": 1,
    "agents_app.engine.builtin_tools": 1,
    "agents_app.engine.mcp": 2,
    "agents_app.engine.client_tools": 3,
    "agents_app.engine.providers.file_parts": 1,
    "agents_app.engine.providers.base": 2,
    "agents_app.engine.compaction": 0,
    "agents_app.engine.context_window": 2,
    "agents_app.engine.window": 2,
    "agents_app.engine.instrumentation": 2,
    "agents_app.engine.providers": 3,
    "agents_app.engine.turn": 3,
    "agents_app.engine.summary": 3,
    "agents_app.engine.compactor": 3,
    "agents_app.engine.tool_calls": 4,
    "agents_app.engine.fallbacks": 3,
    "agents_app.engine.model_turns": 4,
    "agents_app.engine.loop": 5,
}
# What only its owners import.
OWNERS = {
    "channels.layers": ["agents_app.live"],
    "openai": ["agents_app.engine.providers"],
    "anthropic": ["agents_app.engine.providers"],
    "xllamacpp": ["agents_app.engine.providers"],
    "jsonschema": ["agents_app.engine.foreign_schema"],
    "referencing": ["agents_app.engine.foreign_schema"],
    "mcp": ["agents_app.engine.mcp", "agents_app.mcp_server"],
}
# What a package never imports, although the rows would let it.
FORBIDDEN = {
    "chat_app": ["agents_app.engine", "agents_app.worker.worker", "agents_app.tools", "agents_app.queue"],
    "agents_app.api": ["agents_app.engine", "agents_app.worker.worker", "agents_app.tools"],
    "agents_app.admin": ["agents_app.engine", "agents_app.worker.worker"],
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in ("agents_app", "chat_app", "scheduler_project"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                yield name.removesuffix(".__init__"), path


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Return what a module imports anywhere in it, except for type checkers alone."""
    return tuple(_imports(ast.parse(path.read_text())))


def _imports(tree: ast.Module) -> Iterator[str]:
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def package_of(name: str) -> str | None:
    """Return the package of a module of ours: a folder or file directly in `agents_app`, else the app itself."""
    app, _, rest = name.partition(".")
    if app in ("chat_app", "scheduler_project"):
        return app
    inner = rest.split(".")[0]
    return inner if app == "agents_app" and inner else None


def row_of(package: str) -> int:
    return {"chat_app": CHAT_APP_ROW, "scheduler_project": PROJECT_ROW}.get(package) or ROW_OF[package]


MODULES = list(modules())


def test_each_package_has_a_row():
    packages = {package_of(name) for name, _ in MODULES} - {None, "chat_app", "scheduler_project"}

    assert packages == set(ROW_OF)


def violations(is_allowed: Callable[[str, str], bool]) -> list[str]:
    """Return the imports that the rule, a function of importer and imported, does not allow."""
    return [
        f"{name} imports {imported}"
        for name, path in MODULES
        for imported in imports(path)
        if not is_allowed(name, imported)
    ]


def test_a_module_imports_only_rows_above_its_own():
    def is_allowed(name: str, imported: str) -> bool:
        own, other = package_of(name), package_of(imported)
        if not own or not other or other == own or (own, other) == ("apps", "checks"):  # two files of one subject
            return True
        return row_of(other) < row_of(own)

    assert violations(is_allowed) == []


def test_the_engine_keeps_its_order():
    def place(module: str) -> int | None:
        prefixes = [prefix for prefix in ENGINE_ORDER if within(module, prefix)]
        return ENGINE_ORDER[max(prefixes, key=len)] if prefixes else None

    def is_allowed(name: str, imported: str) -> bool:
        own, other = place(name), place(imported)
        return own is None or other is None or other <= own

    assert violations(is_allowed) == []


def test_only_its_owners_import_a_thing():
    def is_allowed(name: str, imported: str) -> bool:
        owners = [owners for thing, owners in OWNERS.items() if within(imported, thing)]
        return all(any(within(name, owner) for owner in each) for each in owners)

    assert violations(is_allowed) == []


def test_nobody_imports_what_is_forbidden():
    def is_allowed(name: str, imported: str) -> bool:
        forbidden = [other for package, others in FORBIDDEN.items() if within(name, package) for other in others]
        return not any(within(imported, other) for other in forbidden)

    assert violations(is_allowed) == []


@pytest.mark.parametrize("package", ["engine", "schedules", "exceptions", "background", "network", "per_loop"])
def test_these_packages_know_no_django(package):
    for name, path in MODULES:
        if within(name, f"agents_app.{package}"):
            for imported in imports(path):
                assert not imported.startswith(("django", "channels", "rest_framework")), f"{name} imports {imported}"


def test_there_is_no_cycle_between_packages():
    graph: dict[str, set[str]] = {}
    for name, path in MODULES:
        own = package_of(name)
        if own is not None:
            others = {package_of(imported) for imported in imports(path)}
            graph.setdefault(own, set()).update(other for other in others if other and other != own)
    # Both are files of one row: Django's application registers the checks.
    graph["apps"].discard("checks")

    assert_acyclic(graph)


def test_there_is_no_cycle_between_modules():
    names = {name for name, _ in MODULES}
    graph = {name: {i for i in imports(path) if i in names and i != name} for name, path in MODULES}
    # `from package import module` names the package too: leave out a parent, which only passes the name on.
    assert_acyclic({name: {i for i in others if not name.startswith(i + ".")} for name, others in graph.items()})


def assert_acyclic(graph: dict[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_drawing_shows_the_imports():
    command = [sys.executable, "scripts/draw-imports", "--check"]

    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0, "Run scripts/draw-imports."

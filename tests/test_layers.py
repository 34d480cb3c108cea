"""Imports point one way: DESIGN's layers, held over the syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module knows only rows above its own. Longest prefix wins.
LAYERS = {
    "agents_app.exceptions": 0,
    "agents_app.correlation": 0,
    "agents_app.measures": 0,
    "agents_app.traces": 0,
    "agents_app.logs": 0,
    "agents_app.schedules": 0,
    "agents_app.engine": 0,
    "agents_app.clock": 0.5,
    "agents_app.threads": 0.5,
    "agents_app.counters": 0.5,
    "agents_app.pace": 0.5,
    "agents_app.models": 1,
    "agents_app.live": 1,
    "agents_app.log": 2,
    "agents_app.dispatch": 3,
    "agents_app.costs": 3.5,
    "agents_app.admission": 3.5,  # whether a run may be started
    "agents_app.runs": 4,
    "agents_app.approvals": 4,
    "agents_app.scheduler": 4,
    "agents_app.webhooks": 4,
    "agents_app.retention": 4,
    "agents_app.housekeeping": 4.5,
    "agents_app.ticker": 4.5,
    "agents_app.task_tools": 4.5,
    "agents_app.presence": 4.5,
    "agents_app.workers": 4.5,
    "agents_app.claims": 4.5,  # rows' side of the worker: after runs, before worker
    "agents_app.artifacts": 4.5,
    "agents_app.platform_tools": 4.6,
    "agents_app.reporting": 4.6,
    "agents_app.execution": 4.7,  # one claimed run; the worker has many
    "agents_app.worker": 5,
    "agents_app": 6,
    "chat_app": 7,
    "scheduler_project": 8,
}
# Inside one row modules may know each other, but not these.
ENGINE_ORDER = {
    "agents_app.engine.spec": 0,
    "agents_app.engine.events": 0,
    "agents_app.engine.tools": 0,
    "agents_app.engine.addresses": 0,
    "agents_app.engine.markup": 0,
    "agents_app.engine.pages": 0,
    "agents_app.engine.fetch": 1,
    "agents_app.engine.builtin": 1,
    "agents_app.engine.mcp": 1,
    "agents_app.engine.models.base": 2,
    "agents_app.engine.history": 2,
    "agents_app.engine.watched": 2,
    "agents_app.engine.models": 3,
    "agents_app.engine.turn": 3,
    "agents_app.engine.loop": 4,
}
ONLY = {  # who may import what
    "channels.layers": {"agents_app.live"},
    "openai": {"agents_app.engine.models"},
    "mcp": {"agents_app.engine.mcp", "agents_app.mcp_server"},
    "xllamacpp": {"agents_app.engine.models"},
    "agents_app.engine": {
        "agents_app.engine", "agents_app.models", "agents_app.log", "agents_app.runs", "agents_app.approvals",
        "agents_app.artifacts", "agents_app.platform_tools", "agents_app.claims", "agents_app.reporting",
        "agents_app.execution", "agents_app.worker", "agents_app.embedded", "agents_app.providers",
        "agents_app.servers", "agents_app.webhooks", "agents_app.task_tools", "agents_app.mcp_server",
    },
    "agents_app.worker": {"agents_app.embedded", "agents_app.management"},
}  # fmt: skip


def modules() -> Iterator[tuple[str, Path]]:
    for package in ("agents_app", "chat_app", "scheduler_project"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                yield name.removesuffix(".__init__"), path


def imports(name: str, path: Path) -> Iterator[str]:
    """What a module imports anywhere in it, but for type checkers alone."""
    tree = ast.parse(path.read_text())
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


def row(name: str, table: dict[str, float]) -> float | None:
    prefixes = [p for p in table if name == p or name.startswith(p + ".")]
    return table[max(prefixes, key=len)] if prefixes else None


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


ALL = list(modules())


@pytest.mark.parametrize(("name", "path"), ALL, ids=[name for name, _ in ALL])
def test_a_module_knows_only_the_rows_above_its_own(name, path):
    own = row(name, LAYERS)
    for imported in imports(name, path):
        other = row(imported, LAYERS)
        if other is not None and imported != "agents_app":  # the bare package holds nothing
            assert other <= own, f"{name} (row {own}) imports {imported} (row {other})"
        inner, theirs = row(name, ENGINE_ORDER), row(imported, ENGINE_ORDER)
        if inner is not None and theirs is not None:
            assert theirs <= inner, f"{name} imports {imported}"


@pytest.mark.parametrize(("name", "path"), ALL, ids=[name for name, _ in ALL])
def test_only_its_owners_import_a_thing(name, path):
    for imported in imports(name, path):
        for thing, owners in ONLY.items():
            if within(imported, thing):
                assert any(within(name, owner) for owner in owners), f"{name} imports {imported}"


@pytest.mark.parametrize("package", ["agents_app/engine", "agents_app/exceptions.py"])
def test_the_engine_knows_no_django(package):
    for name, path in ALL:
        if str(path.relative_to(ROOT)).startswith(package):
            for imported in imports(name, path):
                assert not imported.startswith(("django", "channels", "rest_framework")), f"{name} imports {imported}"


def test_nobody_imports_the_project():
    for name, path in ALL:
        if not name.startswith("scheduler_project"):
            assert not any(within(imported, "scheduler_project") for imported in imports(name, path)), name


def test_there_is_no_import_cycle():
    names = {name for name, _ in ALL}
    graph = {name: {i for i in imports(name, path) if i in names and i != name} for name, path in ALL}
    # `from package import module` also names the package: leave out a parent that only passes the name on
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                if not name.startswith(other + "."):
                    visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())

"""Read YAML files as items: the fields of each row, with their file and lines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents_app.configuration import predecessor
from agents_app.configuration.located import ConfigurationError, Located, Problem
from agents_app.configuration.yaml_files import documents_of, named_entries
from agents_app.models.env_variables import VARIABLE, UndefinedVariable, expand

_SHORT_NAMES = {
    "providers": {"default": "is_default"},
    "agents": {"default": "is_default"},
    "mcp_servers": {"type": "transport"},  # as other programs' files of MCP servers have it
}
_TRANSPORTS = {"http": "streamable_http", "streamable-http": "streamable_http"}
KINDS = ("providers", "mcp_servers", "agents", "tasks", "budgets")  # each may refer to those before it


@dataclass(slots=True)
class Item:
    """One row of a file: `fields` as in the REST API, `lines` with the line of each."""

    kind: str
    name: str
    fields: dict[str, Any]
    file: str
    line: int
    lines: dict[str, int] = field(default_factory=dict)

    def problem(self, message: str, at: str = "") -> Problem:
        return Problem(self.file, self.lines.get(at, self.line), message)


def read(files: Iterable[Path]) -> list[Item]:
    """Return the items of all files, in the order in which they can be written.

    Raises:
        ConfigurationError: a file is missing or not YAML, or has an unknown section.
    """
    problems: list[Problem] = []
    documents: list[tuple[str, Located]] = []
    for file in files:
        try:
            documents += [(str(file), document) for document in documents_of(file)]
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    items = [item for name, document in documents for item in _items(name, document, problems)]
    problems += _duplicates(items)
    if problems:
        raise ConfigurationError(problems)
    return sorted(items, key=lambda item: KINDS.index(item.kind))


def _items(file: str, document: Located, problems: list[Problem]) -> Iterable[Item]:
    if sign := predecessor.first_sign(document):
        word, line = sign
        text = f"{word!r} is a word of the predecessor's files: convert them with `{predecessor.COMMAND}`."
        problems.append(Problem(file, line, text))
        return
    for kind, content in document.items():
        line = document.lines[kind]
        if kind not in KINDS:
            problems.append(Problem(file, line, f"Unknown section {kind!r}; there are: {', '.join(KINDS)}."))
            continue
        for name, fields, at in named_entries(content, line):
            if name is None or not isinstance(fields, Located):
                problems.append(Problem(file, at, f"Each of {kind!r} must be a mapping with a name."))
                continue
            item = Item(kind, name, dict(fields), file, at, dict(fields.lines))
            yield from _prepare(item, problems)


def _prepare(item: Item, problems: list[Problem]) -> Iterable[Item]:
    """Yield the item with full names and expanded variables; those of MCP servers are expanded at each use."""
    fields = item.fields
    for short, field_name in _SHORT_NAMES.get(item.kind, {}).items():
        if short in fields:
            fields.setdefault(field_name, fields.pop(short))
            item.lines.setdefault(field_name, item.lines[short])
    if item.kind == "mcp_servers":
        transport = fields.setdefault("transport", "stdio" if "command" in fields else "streamable_http")
        fields["transport"] = _TRANSPORTS.get(str(transport), transport)
    if item.kind == "agents" and fields.get("compaction") is False:  # YAML reads `off` so
        fields["compaction"] = "off"
    key = fields.get("api_key")
    if item.kind == "providers" and isinstance(key, str) and (match := VARIABLE.fullmatch(key)) and not match[2]:
        del fields["api_key"]
        fields["api_key_env"] = match[1]  # the key stays in the environment
    if item.kind != "mcp_servers":
        for name, value in fields.items():
            try:
                fields[name] = _expanded(value)
            except UndefinedVariable as error:
                problems.append(item.problem(str(error), name))
                return
    yield item


def _expanded(value: Any) -> Any:
    if isinstance(value, str):
        return expand(value)
    if isinstance(value, Mapping):
        return {key: _expanded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner) for inner in value]
    return value


def _duplicates(items: list[Item]) -> Iterable[Problem]:
    seen: dict[tuple[str, str], Item] = {}
    for item in items:
        if first := seen.get((item.kind, item.name)):
            yield item.problem(f"{item.name!r} is already in {first.file}, line {first.line}.")
        seen.setdefault((item.kind, item.name), item)

"""YAML files → items: what each row should be, with the file and line that say so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from agents_app.configuration import legacy_format
from agents_app.configuration.located import ConfigurationError, Located, Problem
from agents_app.models.env_variables import VARIABLE, UndefinedVariable, expand

KINDS = ("providers", "mcp_servers", "agents", "tasks")  # each may refer to those before it
_LARGEST_FILE = 4 * 1024 * 1024


@dataclass(slots=True)
class Item:
    """One row as a file wants it: `fields` in the words of the REST API, `lines` where each of them is said."""

    kind: str
    name: str
    fields: dict[str, Any]
    file: str
    line: int
    lines: dict[str, int] = field(default_factory=dict)

    def problem(self, message: str, at: str = "") -> Problem:
        return Problem(self.file, self.lines.get(at, self.line), message)


def read(files: Iterable[Path]) -> list[Item]:
    """The items of all the files, in the order in which they can be written.

    Raises:
        ConfigurationError: a file is not there, is no YAML, or says something that we do not know.
    """
    problems: list[Problem] = []
    documents: list[tuple[str, Located]] = []
    for file in files:
        try:
            documents += [(str(file), document) for document in _documents(file)]
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    translated = legacy_format.translated(documents, problems)
    items = [item for name, document in translated for item in _items(name, document, problems)]
    problems += _doubled(items)
    if problems:
        raise ConfigurationError(problems)
    return sorted(items, key=lambda item: KINDS.index(item.kind))


def _documents(file: Path) -> list[Located]:
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise ConfigurationError([Problem(str(file), 0, "The file is larger than 4 MiB.")])
        text = file.read_text(encoding="utf-8")
        found = [_plain(node) for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except OSError as error:
        raise ConfigurationError([Problem(str(file), 0, f"It cannot be read: {error.strerror}.")]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([Problem(str(file), 0, "It is not UTF-8.")]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigurationError([Problem(str(file), line, f"This is not YAML: {error.problem}.")]) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError([Problem(str(file), 0, f"This is not YAML: {error}.")]) from None
    for document in found:
        if not isinstance(document, Located):
            raise ConfigurationError([Problem(str(file), 1, "A file is a mapping with providers, agents and so on.")])
    return found


def _plain(node: yaml.Node) -> Any:
    """The node's value; mappings keep their lines. An alias that contains itself is refused by the recursion limit."""
    if isinstance(node, yaml.MappingNode):
        result = Located()
        result.line = node.start_mark.line + 1
        result.lines = {}
        for key, value in node.value:
            name = str(_scalar(key))
            if name in result:
                mark = key.start_mark
                raise yaml.MarkedYAMLError(problem=f"{name!r} is said twice", problem_mark=mark)
            result[name] = _plain(value)
            result.lines[name] = key.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.MarkedYAMLError(problem="a key is a text", problem_mark=node.start_mark)
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()


def _items(file: str, document: Located, problems: list[Problem]) -> Iterable[Item]:
    for kind, content in document.items():
        line = document.lines[kind]
        if kind not in KINDS:
            problems.append(Problem(file, line, f"{kind!r} is not known here; there are: {', '.join(KINDS)}."))
            continue
        for name, fields, at in _named(content, line):
            if name is None or not isinstance(fields, Located):
                problems.append(Problem(file, at, f"Each of {kind!r} is a mapping with a name."))
                continue
            item = Item(kind, name, dict(fields), file, at, dict(fields.lines))
            yield from _prepared(item, problems)


def _named(content: Any, line: int) -> Iterable[tuple[str | None, Any, int]]:
    """The entries of a mapping by name, or of a list of mappings that have a `name`."""
    if isinstance(content, Located):
        for name, fields in content.items():
            yield name, _empty(content.lines[name]) if fields is None else fields, content.lines[name]
    elif isinstance(content, list):
        for fields in content:
            is_mapping = isinstance(fields, Located)
            said = fields.pop("name", None) if is_mapping else None
            yield None if said is None else str(said), fields, fields.line if is_mapping else line
    elif content is not None:
        yield None, content, line


def _empty(line: int) -> Located:
    made = Located()
    made.line, made.lines = line, {}
    return made


def _prepared(item: Item, problems: list[Problem]) -> Iterable[Item]:
    """The item with its short words spelled out and its variables filled in; those of MCP servers are at each use."""
    fields = item.fields
    if "default" in fields:
        fields["is_default"] = fields.pop("default")
        item.lines["is_default"] = item.lines["default"]
    key = fields.get("api_key")
    if item.kind == "providers" and isinstance(key, str) and (match := VARIABLE.fullmatch(key)) and not match[2]:
        del fields["api_key"]
        fields["api_key_env"] = match[1]  # the key itself stays where it is
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


def _doubled(items: list[Item]) -> Iterable[Problem]:
    seen: dict[tuple[str, str], Item] = {}
    for item in items:
        if first := seen.get((item.kind, item.name)):
            yield item.problem(f"{item.name!r} is said already in {first.file}, line {first.line}.")
        seen.setdefault((item.kind, item.name), item)

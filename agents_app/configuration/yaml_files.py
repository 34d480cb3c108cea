"""YAML with line numbers: read documents, name their entries, write text."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from agents_app.configuration.located import ConfigurationError, Located, Problem

_LARGEST_FILE = 4 * 1024 * 1024  # bytes
_DEEPEST = 50  # levels: the parser's own recursion ends the process, or takes half a minute to notice
_MOST_VALUES = 100_000  # an alias counts as all that it stands for: nine lines can stand for a billion values
_LONGEST_PLAIN = 100  # characters of a number, date and so on: 1:59:59:… is a number whose cost grows with its square
_STRING = "tag:yaml.org,2002:str"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there


def documents_of(file: Path) -> list[Located]:
    """Return the documents of a file.

    Raises:
        ConfigurationError: the file cannot be read, or is not YAML with mappings.
    """
    try:
        documents = _documents(_text_of(file))
    except OSError as error:
        raise ConfigurationError([Problem(str(file), 0, f"Cannot read the file: {error.strerror}.")]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([Problem(str(file), 0, "The file is not UTF-8.")]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigurationError([Problem(str(file), line, f"This is not YAML: {error.problem}.")]) from None
    except yaml.YAMLError as error:
        raise ConfigurationError([Problem(str(file), 0, f"This is not YAML: {error}.")]) from None
    for document in documents:
        if not isinstance(document, Located):
            raise ConfigurationError(
                [Problem(str(file), 1, "A file must be a mapping of providers, agents and so on.")]
            )
    return documents


def _text_of(file: Path) -> str:
    """Return the text of a file: never of a device or a pipe, which have no end."""
    if file.exists() and not file.is_file():
        raise ConfigurationError([Problem(str(file), 0, "This is not a file.")])
    with file.open("rb") as source:
        content = source.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ConfigurationError([Problem(str(file), 0, "The file is larger than 4 MiB.")])
    return content.decode()


def _documents(text: str) -> list[Any]:
    _check_depth(text)
    reader = _Reader()
    return [reader.value(node) for node in yaml.compose_all(text, Loader=_Loader) if node is not None]


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise _error(f"it is nested more than {_DEEPEST} levels deep", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _error(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


class _Reader:
    """Returns the values of nodes, within limits; mappings keep their lines."""

    def __init__(self) -> None:
        self._count = self._depth = 0
        self._constructor = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node) -> Any:
        self._count += 1
        if self._count > _MOST_VALUES:
            raise _error(f"it has more than {_MOST_VALUES:,} values, with what its aliases stand for", node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _error("an alias contains itself, or nests too deep", node)
        result = (
            self._mapping(node) if isinstance(node, yaml.MappingNode) else [self.value(each) for each in node.value]
        )
        self._depth -= 1
        return result

    def _mapping(self, node: yaml.MappingNode) -> Located:
        result = Located()
        result.line = node.start_mark.line + 1
        result.lines = {}
        for key, value in node.value:
            name = str(self._scalar(key))
            if name in result:
                raise _error(f"{name!r} is there twice", key)
            result[name] = self.value(value)
            result.lines[name] = key.start_mark.line + 1
        return result

    def _scalar(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise _error("a key must be a string", node)
        if node.tag != _STRING and len(node.value) > _LONGEST_PLAIN:
            raise _error(f"{node.value[:20]}… is no number and no date: write text in quotes", node)
        try:
            return self._constructor.construct_object(node)
        except (ValueError, LookupError, AttributeError, TypeError):  # whatever the value of a wrong tag leads to
            kind = node.tag.rpartition(":")[2]
            raise _error(f"{node.value[:60]!r} is not what its tag {kind!r} says", node) from None


def named_entries(content: Any, line: int) -> Iterator[tuple[str | None, Any, int]]:
    """Yield name, content and line of each entry of a mapping, or of a list of mappings that have a `name`.

    The name is None, or the content is not `Located`, if an entry has another shape.
    """
    if isinstance(content, Located):
        for name, entry in content.items():
            at = content.lines[name]
            yield name, Located.empty(at) if entry is None else entry, at
    elif isinstance(content, list):
        for entry in content:
            if isinstance(entry, Located):
                own_name = entry.get("name")
                yield None if own_name is None else str(own_name), entry.without("name"), entry.line
            else:
                yield None, entry, line
    elif content is not None:
        yield None, content, line


def to_yaml(document: Mapping[str, Any]) -> str:
    """Return the document as YAML, without its empty sections."""
    sections = {name: content for name, content in document.items() if content}
    return yaml.dump(sections, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that prompts can be read."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Located, yaml.SafeDumper.represent_dict)

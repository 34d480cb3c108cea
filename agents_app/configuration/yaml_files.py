"""YAML with line numbers: read documents, name their entries, write text."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from agents_app.configuration.located import ConfigurationError, Located, Problem

_LARGEST_FILE = 4 * 1024 * 1024  # bytes


def documents_of(file: Path) -> list[Located]:
    """Return the documents of a file.

    Raises:
        ConfigurationError: the file cannot be read, or is not YAML with mappings.
    """
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise ConfigurationError([Problem(str(file), 0, "The file is larger than 4 MiB.")])
        text = file.read_text(encoding="utf-8")
        documents = [_plain(node) for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except OSError as error:
        raise ConfigurationError([Problem(str(file), 0, f"Cannot read the file: {error.strerror}.")]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([Problem(str(file), 0, "The file is not UTF-8.")]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigurationError([Problem(str(file), line, f"This is not YAML: {error.problem}.")]) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError([Problem(str(file), 0, f"This is not YAML: {error}.")]) from None
    for document in documents:
        if not isinstance(document, Located):
            raise ConfigurationError(
                [Problem(str(file), 1, "A file must be a mapping of providers, agents and so on.")]
            )
    return documents


def _plain(node: yaml.Node) -> Any:
    """Return the node's value; mappings keep their lines. The recursion limit rejects an alias that contains itself."""
    if isinstance(node, yaml.MappingNode):
        result = Located()
        result.line = node.start_mark.line + 1
        result.lines = {}
        for key, value in node.value:
            name = str(_scalar(key))
            if name in result:
                mark = key.start_mark
                raise yaml.MarkedYAMLError(problem=f"{name!r} is there twice", problem_mark=mark)
            result[name] = _plain(value)
            result.lines[name] = key.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.MarkedYAMLError(problem="a key must be a string", problem_mark=node.start_mark)
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()


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

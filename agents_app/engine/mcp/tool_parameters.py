"""The parameters of a tool: an object's schema, made of what its server says, that model servers accept."""

import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from agents_app.engine import foreign_schema
from agents_app.engine.foreign_schema import UnusableSchema
from agents_app.engine.mcp.schema_repair import Unclear, repair
from agents_app.engine.spec import JSON

__all__ = ["Unclear", "UnusableSchema", "parameters"]

_MAX_REFERENCES = 16  # in a row
_MAX_HINT = 500  # characters
_MAX_MERGES = 256  # of alternatives: their number can grow with each level
_DEFINITIONS = ("$defs", "definitions")
_COMBINATIONS = ("allOf", "anyOf", "oneOf")


def parameters(schema: object) -> JSON:
    """Return the schema of the tool's arguments, which always are an object.

    Raises:
        Unclear, UnusableSchema: the schema cannot be used.
    """
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}
    foreign_schema.check_bounds(schema)
    result = repair(schema)
    if not _is_object(result):
        return {"type": "object", "properties": {}}
    _resolve(result)
    result = _merge(result, result, itertools.count(), depth=0)
    _check_references(result)
    if problem := foreign_schema.problem(result):
        raise Unclear(problem)
    return result


def _is_object(schema: JSON) -> bool:
    types = schema.get("type", "object")
    return "object" in (types if isinstance(types, list) else [types])


# References


def _resolve(root: JSON) -> None:
    """Let references find the definitions that are elsewhere than they say."""
    hidden: dict[str, JSON] = {}
    for part in foreign_schema.parts(root):
        for name in _DEFINITIONS:
            hidden |= {key: value for key, value in part.get(name, {}).items() if isinstance(value, dict)}
    for part in list(foreign_schema.parts(root)):
        reference = part.get("$ref")
        if not isinstance(reference, str) or _target(root, reference) is not None:
            continue
        name = _steps(reference)[-1] if reference.startswith("#/") else ""
        if name not in hidden:
            raise Unclear("it refers to a part of itself that is not there")
        root.setdefault("$defs", {})[name] = hidden[name]
        part["$ref"] = f"#/$defs/{name.replace('~', '~0').replace('/', '~1')}"


def _check_references(root: JSON) -> None:
    for part in foreign_schema.parts(root):
        if "$ref" in part:
            _follow(root, part)


def _follow(root: JSON, part: JSON) -> JSON:
    """Return the schema at the end of the references that begin here."""
    for _ in range(_MAX_REFERENCES):
        if not isinstance(part.get("$ref"), str):
            return part
        target = _target(root, part["$ref"])
        if target is None:
            raise Unclear("it refers to a part of itself that is not there")
        part = target
    raise Unclear("it refers to itself alone")


def _target(root: JSON, reference: str) -> JSON | None:
    """Return the part of the schema; None if it is not there."""
    if not reference.startswith("#"):
        raise Unclear("it refers to a schema that is somewhere else")
    if not reference.startswith("#/"):
        anchored = (part for part in foreign_schema.parts(root) if f"#{part.get('$anchor', '')}" == reference)
        return root if reference == "#" else next(anchored, None)
    value: Any = root
    for step in _steps(reference):
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return None
    return value if isinstance(value, dict) else None


def _steps(reference: str) -> list[str]:
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in reference[2:].split("/")]


# Alternatives


def _merge(schema: JSON, root: JSON, merges: Iterator[int], depth: int) -> JSON:
    """Return an object's schema without alternatives at its top. It allows what they allow, and more.

    Models' servers take none there. The tool's own server checks what is left out.
    """
    if depth > _MAX_REFERENCES or next(merges) > _MAX_MERGES:
        raise Unclear("its alternatives have no end")
    target = _follow(root, schema)
    others = {name: value for name, value in schema.items() if name not in ("$ref", "not", "enum", *_COMBINATIONS)}
    if target is not schema:
        others = _merge(target, root, merges, depth + 1) | others
    result = others | {"type": "object", "properties": dict(others.get("properties", {}))}
    required = dict.fromkeys(result.pop("required", []))
    for combination in _COMBINATIONS:
        branches = list(_branches(schema.get(combination, []), root, merges, depth))
        for branch in branches:
            for name, part in branch["properties"].items():
                existing = result["properties"].get(name, {})
                both = {"allOf" if combination == "allOf" else "anyOf": [existing, part]}
                result["properties"][name] = both if existing and part and existing != part else part or existing
        needed = [branch.get("required", []) for branch in branches]
        if combination == "allOf":
            required |= dict.fromkeys(name for names in needed for name in names)
        elif needed:
            required |= dict.fromkeys(name for name in needed[0] if all(name in names for names in needed))
            if hint := _hint(needed):
                result["description"] = " ".join(filter(None, [result.get("description"), hint]))
    return result | ({"required": list(required)} if required else {})


def _branches(branches: list[JSON], root: JSON, merges: Iterator[int], depth: int) -> Iterator[JSON]:
    for branch in branches:
        if _is_object(_follow(root, branch)):
            yield _merge(branch, root, merges, depth + 1)


def _hint(needed: list[list[str]]) -> str:
    """Return a sentence for models about what the alternatives need; empty if they need the same."""
    groups = [", ".join(names) or "nothing more" for names in needed]
    if len(set(groups)) < 2:
        return ""
    return f"One of these groups of arguments is needed: {'; '.join(groups)}."[:_MAX_HINT]

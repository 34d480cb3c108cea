"""Repair the schemas of a server's tools where their meaning is clear.

Strict model servers refuse a whole request for one schema that they do not accept.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from agents_app.engine.spec import JSON

_TYPES = {
    "int": "integer", "long": "integer", "int32": "integer", "int64": "integer",
    "float": "number", "double": "number", "decimal": "number", "numeric": "number",
    "str": "string", "text": "string", "char": "string", "uuid": "string", "uri": "string", "url": "string",
    "date": "string", "datetime": "string", "date-time": "string", "time": "string",
    "bool": "boolean", "dict": "object", "map": "object", "json": "object", "record": "object", "struct": "object",
    "list": "array", "tuple": "array", "set": "array", "none": "null", "nil": "null", "nonetype": "null",
}  # fmt: skip
_TYPES |= {name: name for name in ("integer", "number", "string", "boolean", "object", "array", "null")}
_ANY_TYPE = ("any", "mixed", "enum")
_LIFTED = ("title", "description", "$schema", "$id", "$comment")
_DROP = object()


class Unclear(Exception):
    """Nobody can tell what a schema means. The text is the end of a sentence, and quotes nothing of the schema."""


def repair(schema: JSON) -> JSON:
    """Return a copy of the schema that breaks no rule of JSON Schema. It must be bounded in size and depth.

    Raises:
        Unclear: it cannot be repaired.
    """
    result: JSON = {}
    for name, value in schema.items():
        if value is None and name not in ("const", "default"):
            continue
        repaired = _KEYWORDS[name](value) if name in _KEYWORDS else value
        if repaired is not _DROP:
            result[name] = repaired
    if "properties" in schema and schema["properties"] is not None:
        result |= _properties(schema["properties"], result)
    _move_bounds(result)
    types = result.get("type")
    if "array" in (types if isinstance(types, list) else [types]) and not result.keys() & {"items", "prefixItems"}:
        result["items"] = {}
    return result


def _part(value: Any) -> JSON:
    """Return a schema inside another one."""
    if isinstance(value, dict):
        return repair(value)
    if value is None or value is True:
        return {}
    if value is False:
        return {"not": {}}
    names = value if isinstance(value, list) else [value]
    if names and all(isinstance(name, str) and name.lower() in _TYPES for name in names):
        return repair({"type": value})
    raise Unclear("one of its parts is no schema")


def _properties(value: Any, parent: JSON) -> JSON:
    """Return the keywords that a value of `properties` gives the schema that it is in."""
    if not isinstance(value, dict):
        if value:
            raise Unclear("its properties are no object")
        return {"properties": {}}
    required = list(parent.get("required", []))
    lifted: JSON = {}
    properties: JSON = {}
    for name, part in value.items():
        if name == "required" and isinstance(part, list):
            required += part
        elif name in _LIFTED and isinstance(part, str):
            lifted |= {} if name in parent else {name: part}
        elif (name, part) == ("type", "object") or (name == "additionalProperties" and isinstance(part, bool)):
            continue
        else:
            if isinstance(part, dict) and part.get("required") in (True, "true"):  # as in draft 3
                required.append(name)
            is_description = isinstance(part, str) and part.lower() not in _TYPES
            properties[name] = {"description": part} if is_description else _part(part)
    required = _unique(name for name in required if isinstance(name, str))
    properties |= {name: {} for name in required if name not in properties}
    return lifted | {"properties": properties} | ({"required": required} if required else {})


def _type(value: Any) -> Any:
    names = value if isinstance(value, list) else value.split("|") if isinstance(value, str) else [value]
    if not all(isinstance(name, str) for name in names):
        raise Unclear("one of its types is no name of a type")
    names = [name.strip().lower() for name in names]
    if not names or any(name in _ANY_TYPE for name in names):
        return _DROP
    if not all(name in _TYPES for name in names):
        raise Unclear("one of its types is unknown")
    types = _unique(_TYPES[name] for name in names)
    return types[0] if len(types) == 1 else types


def _map(value: Any) -> Any:
    if not isinstance(value, dict):
        if value:
            raise Unclear("a list stands where names and schemas should")
        return _DROP
    return {name: _part(part) for name, part in value.items()}


def _dependencies(value: Any) -> Any:
    if not isinstance(value, dict):
        return _DROP
    return {name: part if isinstance(part, list) else _part(part) for name, part in value.items()}


def _list(value: Any) -> Any:
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise Unclear("one of its alternatives is no list of schemas")
    return [_part(part) for part in value] or _DROP


def _items(value: Any) -> Any:
    if not isinstance(value, list):
        return _part(value)
    parts = [_part(part) for part in value]  # one for each place, as up to draft 2019-09
    return {"anyOf": parts} if len(parts) > 1 else parts[0] if parts else {}


def _part_or_flag(value: Any) -> Any:
    flag = _flag(value)
    return _part(value) if flag is _DROP else flag


def _flag(value: Any) -> Any:
    return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower(), _DROP)


def _required(value: Any) -> Any:
    names = [value] if isinstance(value, str) and value not in ("true", "false") else value
    return _unique(name for name in names if isinstance(name, str)) if isinstance(names, list) else _DROP


def _enum(value: Any) -> Any:
    if isinstance(value, dict):
        raise Unclear("its enum is no list")
    values = value if isinstance(value, list) else [value]
    return list({json.dumps(value, sort_keys=True): value for value in values}.values()) or _DROP


def _number(value: Any) -> Any:
    """Return a limit. One that is no number is left out: the server checks it anyway."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return _DROP
    return value if isinstance(value, int | float) and not isinstance(value, bool) else _DROP


def _count(value: Any) -> Any:
    number = _number(value)
    return int(number) if number is not _DROP and number >= 0 and number == int(number) else _DROP


def _bound(value: Any) -> Any:
    return value if isinstance(value, bool) else _number(value)


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else _DROP


def _examples(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _named(names: str, keyword: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    return dict.fromkeys(names.split(), keyword)


_KEYWORDS: dict[str, Callable[[Any], Any]] = (
    _named("type", _type)
    | _named("properties", lambda value: _DROP)  # see `_properties`
    | _named("patternProperties $defs definitions dependentSchemas", _map)
    | _named("dependencies dependentRequired", _dependencies)
    | _named("anyOf oneOf allOf prefixItems", _list)
    | _named("items", _items)
    | _named("additionalProperties unevaluatedProperties unevaluatedItems additionalItems", _part_or_flag)
    | _named("not if then else contains propertyNames contentSchema", _part)
    | _named("required", _required)
    | _named("enum", _enum)
    | _named("minimum maximum multipleOf", _number)
    | _named("exclusiveMinimum exclusiveMaximum", _bound)
    | _named("minLength maxLength minItems maxItems minProperties maxProperties minContains maxContains", _count)
    | _named("pattern format title description $id $anchor $comment contentEncoding contentMediaType", _text)
    | _named("uniqueItems deprecated readOnly writeOnly nullable", _flag)
    | _named("examples", _examples)
)


def _move_bounds(schema: JSON) -> None:
    """Write bounds as drafts after 4 do: there `exclusiveMinimum` is a flag beside `minimum`."""
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool):
            is_exclusive = schema.pop(exclusive)
            if is_exclusive and limit in schema:
                schema[exclusive] = schema.pop(limit)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))

"""JSON Schema of msgspec models, without references."""

from typing import Any

import msgspec

Schema = dict[str, Any]
_PREFIX = "#/$defs/"


def schema_of(model: Any) -> Schema:
    """Return the JSON Schema of a model, with the schemas of its parts in place of references to them."""
    (root,), components = msgspec.json.schema_components([model], ref_template=_PREFIX + "{name}")
    return _resolve(root, components)


def _resolve(node: Any, components: dict[str, Schema]) -> Any:
    if isinstance(node, list):
        return [_resolve(item, components) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _resolve(components[node["$ref"].removeprefix(_PREFIX)], components)
    return {key: _resolve(value, components) for key, value in node.items()}


def closed(node: Any) -> Any:
    """Return the schema with objects that have no other properties than those that they name."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: closed(value) for key, value in node.items()}
    if node.get("type") == "object" and "properties" in node:
        result["additionalProperties"] = False
    return result

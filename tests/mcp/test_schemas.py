"""Schemas that strict model servers refuse: repaired where their meaning is clear, else their tool is left out."""

import json
from typing import Any

import jsonschema
import pytest

from agents_app.engine import mcp
from agents_app.engine.mcp.tool_names import sort_out
from agents_app.engine.spec import ServerSpec
from tests.harness.fakes.mcp_servers import scripted_stdio
from tests.mcp.test_effects import play

SPEC = ServerSpec("own", "stdio")
TEXT = {"type": "string"}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def parameters(schema: Any) -> tuple[Any, str]:
    """The parameters of a tool with that schema, or why it is left out."""
    usable, problem = sort_out(SPEC, [{"name": "tool", "inputSchema": schema}])
    return (usable[0]["inputSchema"] if usable else None), problem


REPAIRS: list[tuple[Any, dict[str, Any]]] = [
    (None, of()),
    (True, of()),
    ([], of()),
    ({}, of()),
    ({"type": "object", "properties": []}, of()),
    ({"type": "object", "properties": None}, of()),
    ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, of(a=TEXT)),
    ({"type": ["object", "null"], "properties": {"a": TEXT}}, of(a=TEXT)),
    (of(a=None, b=True), of(a={}, b={})),
    (of(a={"type": "int"}, b={"type": "float"}), of(a={"type": "integer"}, b={"type": "number"})),
    (of(a={"type": ["str", "None"]}, b={"type": "bool"}), of(a={"type": ["string", "null"]}, b={"type": "boolean"})),
    (of(a={"type": "any"}, b={"type": None}), of(a={}, b={})),
    (of(a="string", b="The name of a city"), of(a=TEXT, b={"description": "The name of a city"})),
    (of(a=TEXT, required=["a"]), of(a=TEXT) | {"required": ["a"]}),
    (of(a=TEXT, type="object", description="Adds."), of(a=TEXT) | {"description": "Adds."}),
    (of(a=TEXT | {"required": True}, b=TEXT | {"required": False}), of(a=TEXT, b=TEXT) | {"required": ["a"]}),
    (of(a=TEXT) | {"required": None}, of(a=TEXT)),
    (of(a=TEXT) | {"required": "a"}, of(a=TEXT) | {"required": ["a"]}),
    (of(a=TEXT) | {"required": ["a", "a", 5, "b"]}, of(a=TEXT, b={}) | {"required": ["a", "b"]}),
    (of(a={"type": "array"}), of(a={"type": "array", "items": {}})),
    (of(a={"type": "array", "items": [TEXT]}), of(a={"type": "array", "items": TEXT})),
    (of(a={"type": "list", "items": "int"}), of(a={"type": "array", "items": {"type": "integer"}})),
    (of(a={"enum": []}, b={"enum": "x"}, c={"enum": [1, 1]}), of(a={}, b={"enum": ["x"]}, c={"enum": [1]})),
    (of(a={"minimum": "5", "maxLength": "many"}), of(a={"minimum": 5})),
    (of(a={"minimum": 5, "exclusiveMinimum": True}), of(a={"exclusiveMinimum": 5})),
    (of(a={"anyOf": []}, b={"description": None}), of(a={}, b={})),
    (of(a=TEXT) | {"additionalProperties": "false"}, of(a=TEXT) | {"additionalProperties": False}),
    (
        of(a={"$ref": "#/$defs/b"}) | {"definitions": {"b": TEXT}},
        of(a={"$ref": "#/$defs/b"}) | {"definitions": {"b": TEXT}, "$defs": {"b": TEXT}},
    ),
    (
        of(a={"$ref": "#/$defs/b", "$defs": {"b": TEXT}}),
        of(a={"$ref": "#/$defs/b", "$defs": {"b": TEXT}}) | {"$defs": {"b": TEXT}},
    ),
    ({"$ref": "#/$defs/b", "$defs": {"b": of(a=TEXT)}}, of(a=TEXT) | {"$defs": {"b": of(a=TEXT)}}),
    ({"allOf": [of(a=TEXT) | {"required": ["a"]}, of(b=TEXT)]}, of(a=TEXT, b=TEXT) | {"required": ["a"]}),
    (
        {"anyOf": [of(a=TEXT) | {"required": ["a"]}, of(a={"type": "integer"}) | {"required": ["a"]}]},
        of(a={"anyOf": [TEXT, {"type": "integer"}]}) | {"required": ["a"]},
    ),
    (
        of(a=TEXT, b=TEXT) | {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        of(a=TEXT, b=TEXT) | {"description": "One of these groups of arguments is needed: a; b."},
    ),
    ({"anyOf": [of(a=TEXT), {"type": "null"}]}, of(a=TEXT)),
    (of(a=TEXT) | {"not": {"required": ["a"]}, "enum": [{}]}, of(a=TEXT)),
]


@pytest.mark.parametrize(("schema", "expected"), REPAIRS, ids=lambda value: json.dumps(value)[:60])
def test_a_schema_whose_meaning_is_clear_is_repaired(schema, expected):
    assert parameters(schema) == (expected, "")
    assert parameters(expected) == (expected, "")
    jsonschema.Draft202012Validator.check_schema(expected)


@pytest.mark.parametrize(
    "schema",
    [
        of(a=TEXT | {"minLength": 1}) | {"required": ["a"], "additionalProperties": False},
        of(a={"anyOf": [TEXT, {"type": "null"}], "default": None}, type=TEXT, required={"type": "boolean"}),
        of(a={"$ref": "#/$defs/n"}) | {"$defs": {"n": of(next={"$ref": "#/$defs/n"})}},
        of(a={"const": None}, b={"enum": [None, 1, {"type": "int"}]}, c={"type": ["integer", "null"]}),
        of(a={"type": "array", "prefixItems": [TEXT], "items": False}) | {"$schema": "http://json-schema.org/draft-07/schema#"},
    ],
)  # fmt: skip
def test_an_ordinary_schema_stays_as_it_is(schema):
    expected = json.loads(json.dumps(schema).replace('"items": false', '"items": {"not": {}}'))
    assert parameters(schema) == (expected, "")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (of(a={"type": "S3CRET"}), "one of its types is unknown"),
        (of(a={"type": {"S3CRET": 1}}), "one of its types is no name of a type"),
        ({"type": "object", "properties": ["S3CRET"]}, "its properties are no object"),
        (of(a=5), "one of its parts is no schema"),
        (of(a={"anyOf": "S3CRET"}), "one of its alternatives is no list of schemas"),
        (of(a={"enum": {"S3CRET": 1}}), "its enum is no list"),
        (of(a={"$ref": "#/$defs/S3CRET"}), "it refers to a part of itself that is not there"),
        (of(a={"$ref": "#/properties/a"}), "it refers to itself alone"),
        ({"$ref": "#"}, "it refers to itself alone"),
        ({"anyOf": [{"$ref": "#"}]}, "its alternatives have no end"),
        (of(a={"$ref": "http://S3CRET.example/"}), "it refers to a schema that is somewhere else"),
    ],
)
def test_a_tool_whose_schema_is_unclear_is_left_out(schema, reason):
    expected = f"Tools of the MCP server 'own' are left out for their schemas. 'tool': {reason}."
    assert parameters(schema) == (None, expected)


def test_no_tool_costs_the_others(tmp_path):
    schemas = [schema for schema, _ in REPAIRS] + [of(a={"type": "foo"})]
    tools = [{"name": f"tool-{number}", "inputSchema": schema} for number, schema in enumerate(schemas)]
    listed = json.dumps({"jsonrpc": "2.0", "id": "ID", "result": {"tools": tools}})
    spec = scripted_stdio(tmp_path, {"tools/list": listed.replace('"ID"', "ID")})

    report = play(lambda: mcp.check(spec))

    assert report.ok
    assert len(report.tools) == len(REPAIRS)
    assert report.message.endswith(f"'tool-{len(REPAIRS)}': one of its types is unknown.")

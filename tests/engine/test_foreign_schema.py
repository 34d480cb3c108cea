"""Schemas of other people's tools: nothing is fetched, no expression of theirs runs, and a check ends soon."""

import asyncio
import logging
import re
import socket
import time
import urllib.request
from typing import Any

import pytest

from agents_app.engine import foreign_schema
from agents_app.engine.mcp.tool_names import sort_out
from agents_app.engine.spec import ServerSpec
from agents_app.engine.toolset import Call, Tool, ToolError, Toolset, acheck_arguments, check_arguments

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


async def nothing(arguments: dict[str, Any], call: Call) -> str:
    return ""


def check(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    check_arguments(Tool("server__tool", "", schema, nothing), arguments)


def properties(**schemas: Any) -> dict[str, Any]:
    return {"type": "object", "properties": schemas}


@pytest.fixture
def no_network(monkeypatch):
    def connect(*arguments: object, **options: object) -> None:
        pytest.fail(f"The check of a schema asked for {arguments[:2]}")

    monkeypatch.setattr(urllib.request, "urlopen", connect)
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "local.json"
    path.write_text('{"const": "S3CRET"}')
    return path.as_uri()


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
@pytest.mark.parametrize("place", ["http://127.0.0.1:9/latest/meta-data/", "https://tarpit.example/", "file", "a.json"])
def test_a_reference_to_somewhere_else_is_never_followed(keyword, place, secret, caplog):
    schema = properties(a={keyword: secret if place == "file" else place})

    with pytest.raises(ToolError, match=r"^The schema of the tool cannot be used: it breaks the rules"):
        check(schema, {"a": 1})
    assert "S3CRET" not in caplog.text
    assert foreign_schema.problem(schema) == "it refers to a schema that is somewhere else"


@pytest.mark.usefixtures("no_network")
def test_an_id_somewhere_else_is_not_followed_either():
    check({"$id": "http://127.0.0.1:9/a", **properties(a={"$ref": "#/$defs/b"}), "$defs": {"b": {}}}, {"a": 1})


EVIL = "^(a+)+$"
LONG = "a" * 40 + "!"


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (properties(a={"pattern": EVIL}), {"a": LONG}),
        ({"patternProperties": {EVIL: {}}}, {LONG: 1}),
        ({"patternProperties": {EVIL: {}}, "additionalProperties": False}, {LONG: 1}),
        ({"patternProperties": {EVIL: {}}, "unevaluatedProperties": False}, {LONG: 1}),
        ({"propertyNames": {"pattern": EVIL}}, {LONG: 1}),
        (properties(a={"$schema": DRAFT_7, "pattern": EVIL}), {"a": LONG}),
        ({"$schema": DRAFT_7, **properties(a={"$ref": "#"}), "patternProperties": {EVIL: {}}}, {"a": {LONG: 1}}),
        (properties(a={"$ref": "#/const"}) | {"const": {"$schema": DRAFT_7, "pattern": EVIL}}, {"a": LONG}),
        (properties(a={"format": "regex"}), {"a": "("}),
    ],
)
def test_no_expression_of_a_stranger_runs(schema, arguments):
    started = time.thread_time()
    try:
        check(schema, arguments)
    except ToolError as error:
        assert "const" in schema, error  # its arguments are not the constant; the pattern beside it did not run
    assert time.thread_time() - started < 1


def exponential() -> dict[str, Any]:
    """Return a schema of 40 levels, each of which asks for the next one twice."""
    levels = {f"l{i}": {"anyOf": [{"$ref": f"#/$defs/l{i + 1}"}] * 2} for i in range(40)}
    return {"type": "object", "$defs": levels | {"l40": {"type": "string"}}, "$ref": "#/$defs/l0"}


SLOW = [
    (exponential(), {}),
    ({"allOf": [{"propertyNames": True}] * 20_000}, {f"k{i}": 1 for i in range(20_000)}),
    (properties(a={"items": {"enum": list(range(50_000))}}), {"a": ["x"] * 50_000}),
    (properties(a={"items": {}}), {"a": [0] * 500_000}),
    (properties(a={"contains": {"not": {}}}), {"a": [0] * 500_000}),
]


@pytest.mark.parametrize(("schema", "arguments"), SLOW)
def test_a_slow_check_does_not_hold_up_the_event_loop(schema, arguments):
    async def check() -> float:
        started = time.thread_time()
        with pytest.raises(ToolError, match="checking these arguments takes too long"):
            await acheck_arguments(Tool("server__tool", "", schema, nothing), arguments)
        return time.thread_time() - started

    asyncio.run(check())  # what is imported and compiled once
    assert asyncio.run(check()) < 0.05


@pytest.mark.parametrize(("schema", "arguments"), SLOW)
def test_a_check_ends_soon(schema, arguments):
    started = time.thread_time()

    with pytest.raises(ToolError, match="checking these arguments takes too long"):
        check(schema, arguments)
    assert time.thread_time() - started < 1


def test_many_unequal_items_are_no_work():
    started = time.thread_time()

    check(properties(a={"uniqueItems": True}), {"a": [{"n": n} for n in range(20_000)]})
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    "part",
    [
        {"type": "int"},
        {"type": {"private_key": "S3CRET"}},
        {"type": ["int", {"S3CRET": 1}]},
        {"$ref": "#/properties/a"},
        {"$ref": "#/nowhere"},
        {"required": 1},
        {"enum": 1},
        {"minimum": "S3CRET"},
        {"properties": ["S3CRET"]},
        {"anyOf": {"S3CRET": 1}},
    ],
)
def test_an_odd_schema_is_one_clear_error(part, caplog):
    value = {} if "properties" in part or "required" in part else 5
    with caplog.at_level(logging.DEBUG), pytest.raises(ToolError) as caught:
        check(properties(a=part), {"a": value})

    assert "it breaks the rules of JSON Schema (" in str(caught.value)
    assert "S3CRET" not in str(caught.value) + caplog.text


def test_errors_are_as_good_as_before():
    schema = {"$schema": DRAFT_7, **properties(a={"type": "array", "items": {"type": "integer"}}), "required": ["a"]}

    check(schema, {"a": [1, 2]})
    with pytest.raises(ToolError, match=r"do not fit the tool's schema at 'a\[1\]': 'x' is not of type 'integer'"):
        check(schema, {"a": [1, "x"]})
    with pytest.raises(ToolError, match="'a' is a required property"):
        check(schema, {})


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$schema": "http://evil.example/schema"}, r"its \$schema is unknown"),
        (properties(a={"$schema": 5}), r"its \$schema is unknown"),
        ({"description": "x" * 300_000}, "larger than 256 KiB"),
        (deep(70), "deeper than 64 levels"),
        (deep(5000), "it is not JSON|deeper"),
        (properties(const={"$ref": "http://evil.example/"}), "somewhere else"),
    ],
)
def test_a_tool_with_a_bad_schema_is_left_out_and_the_reason_is_visible(schema, reason):
    spec = ServerSpec("own", "stdio")
    descriptions = [{"name": "bad", "inputSchema": schema}, {"name": "good", "inputSchema": {"type": "object"}}]

    usable, sentence = sort_out(spec, descriptions)

    assert [tool["name"] for tool in usable] == ["good"]
    assert sentence.startswith("Tools of the MCP server 'own' are left out for their schemas. 'bad': ")
    assert re.search(reason, sentence)


@pytest.mark.parametrize(
    "schema",
    [
        properties(a={"default": {"$ref": "http://example.com/"}}),
        properties(**{"$ref": {"type": "string"}, "$schema": {"type": "string"}}),
        {"$schema": DRAFT_7, "definitions": {"b": {"type": "string"}}, **properties(a={"$ref": "#/definitions/b"})},
    ],
)
def test_ordinary_schemas_are_kept(schema):
    assert foreign_schema.problem(schema) == ""


def test_a_run_hears_which_tools_are_left_out():
    class Source:
        name = "own"

        async def tools(self) -> list[Tool]:
            return [Tool("own__good", "", {}, nothing)]

        def left_out(self) -> str:
            return "Tools of the MCP server 'own' are left out for their schemas. 'bad': it is not JSON."

        def changes(self) -> str:
            return ""

    toolset = Toolset([], [Source()])

    assert asyncio.run(toolset.refresh()) == [(Source().left_out(), "tools_unavailable")]
    assert [tool.name for tool in toolset.tools] == ["own__good"]

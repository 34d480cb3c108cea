"""Servers that bend the protocol: used where their meaning is clear, else there is a reason in our own words."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from agents_app.engine import mcp
from agents_app.engine.mcp import connection, tool_pages
from agents_app.engine.spec import ServerSpec
from tests.harness.fakes.mcp_servers import ORDINARY, Reply, scripted_http, scripted_stdio
from tests.mcp.test_effects import call, play

MARK = "\ufeff"


def message(result: Any, **more: Any) -> str:
    """An answer; ID becomes the id of its request."""
    return json.dumps({"jsonrpc": "2.0", "id": "ID", "result": result} | more).replace('"ID"', "ID")


DONE = message({"content": [{"type": "text", "text": "done"}]})


@pytest.mark.parametrize(
    "answer",
    [
        MARK + DONE,
        DONE + "\r",
        MARK + DONE + "\r",
        DONE.replace("ID", '"ID"'),
        DONE.replace("ID", "ID.0"),
        DONE.replace('"jsonrpc": "2.0", ', ""),
        DONE.replace('"2.0"', "2.0"),
        DONE.replace("}]}", "}]}, \"error\": null"),
        message("done"),
        message(["done"]),
        message({"content": "done"}),
        message({"content": ["done"]}),
        message({"content": {"type": "text", "text": "done"}}),
        message({"content": [None, "done"], "isError": None}),
    ],
)  # fmt: skip
def test_an_answer_whose_meaning_is_clear_is_used(tmp_path, answer):
    result = play(lambda: call(scripted_stdio(tmp_path, {"tools/call": answer})))
    assert (result.content, result.is_error) == ("done", False)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (message({"status": "ok", "isError": False}), '{"status": "ok"}'),
        (message({"content": [1, True, {"a": 1}]}), '1\ntrue\n{"a": 1}'),
        (message({}), "The tool returned nothing."),
        (message(None), "The tool returned nothing."),
        ('{"jsonrpc": "2.0", "id": ID, "error": "no more paper"}', "no more paper"),
        ('{"jsonrpc": "2.0", "id": ID, "error": {"message": "no more paper"}}', "no more paper"),
        ('{"jsonrpc": "2.0", "id": ID, "error": {"code": "E1", "reason": "x"}}', '{"code": "E1", "reason": "x"}'),
    ],
)
def test_nothing_that_a_tool_says_is_lost(tmp_path, answer, text):
    result = play(lambda: call(scripted_stdio(tmp_path, {"tools/call": answer})))
    assert (result.content, result.is_error) == (text, "error" in answer)


QUESTION = {"method": "elicitation/create", "params": {"mode": "form", "message": "Which account?"}}


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"resultType": "input_required", "inputRequests": {"a": QUESTION}, "requestState": "s"}, "Which account?"),
        ({"resultType": "input_required", "inputRequests": {"a": QUESTION, "b": 5, "c": {"params": []}}}, "account?"),
        ({"resultType": "input_required", "inputRequests": [1], "content": []}, "input that this client cannot give."),
        ({"resultType": "input_required", "requestState": 5}, "input that this client cannot give."),
        ({"resultType": "task", "taskId": "t-7", "status": "working"}, "its task 't-7'."),
    ],
)
def test_a_call_that_is_not_finished_is_no_empty_result(tmp_path, result, text):
    """Servers may not ask a client that cannot answer; the model learns what one that does so wants."""
    answer = play(lambda: call(scripted_stdio(tmp_path, {"tools/call": message(result)})))
    assert answer.is_error
    assert answer.content.startswith("The call is not finished: ") and answer.content.endswith(text)


@pytest.mark.parametrize(
    ("repetitions", "content"), [(2, "done"), (9, "the server wants it again, however often it gets it.")]
)
def test_a_call_is_made_again_with_the_exact_state_that_the_server_returns(tmp_path, monkeypatch, repetitions, content):
    monkeypatch.setattr(connection, "_RETRY_PAUSES", (0.0,) * 3)
    states = [f' "{number}\u2028' for number in range(repetitions)]
    again = [message({"resultType": "input_required", "inputRequests": {}, "requestState": state}) for state in states]
    answers = {f"tools/call.{number}": answer for number, answer in enumerate(again, start=1)}
    result = play(lambda: call(scripted_stdio(tmp_path, answers), text="hello"))
    assert (result.content.endswith(content), result.is_error) == (True, repetitions == 9)
    calls = [each for each in requests(tmp_path) if each.get("method") == "tools/call"]
    assert [each["params"].get("requestState") for each in calls] == [None, *states][:4]
    assert {json.dumps(each["params"]["arguments"]) for each in calls} == {'{"text": "hello"}'}
    assert len({each["id"] for each in calls}) == len(calls)


@pytest.mark.parametrize("method", ["sampling/createMessage", "roots/list", "elicitation/create"])
def test_what_a_server_may_not_ask_is_an_error_and_the_call_goes_on(tmp_path, method):
    params = {
        "messages": [],
        "maxTokens": 5,
        "message": "Which?",
        "requestedSchema": {"type": "object", "properties": {}},
    }
    question = {"jsonrpc": "2.0", "id": 900, "method": method, "params": params}

    async def story():
        result = await call(scripted_stdio(tmp_path, {"tools/call": f"{json.dumps(question)}\n{DONE}"}))
        while not (replies := [each for each in requests(tmp_path) if each["id"] == 900]):
            await asyncio.sleep(0.02)
        return result, replies

    result, replies = play(story)
    assert (result.content, result.is_error) == ("done", False)
    assert "result" not in replies[0] and replies[0]["error"]["code"] in (-32600, -32601)
    (start,) = [each for each in requests(tmp_path) if each.get("method") == "initialize"]
    assert not {"sampling", "roots", "elicitation"} & set(start["params"]["capabilities"])


def requests(folder):
    """What a scripted server received, without notifications."""
    lines = (folder / "requests.jsonl").read_text().split("\n")
    return [each for each in map(json.loads, filter(None, lines)) if "id" in each]


@pytest.mark.parametrize(
    ("meta", "is_offered"),
    [
        ({"ui": {"visibility": ["app"]}}, False),
        ({"ui": {"visibility": ["model", "app"]}}, True),
        ({"ui": {"visibility": []}}, False),
        ({"ui": {"visibility": "app"}}, True),  # not as the extension says it
        ({"ui": {}}, True),
        ({"ui": 5}, True),
        ([], True),
    ],
)
def test_tools_for_apps_alone_are_not_offered_to_models(tmp_path, meta, is_offered):
    page = message({"tools": [{"name": "one", "inputSchema": {"type": "object"}, "_meta": meta}]})
    listed, problems = names(scripted_stdio(tmp_path, {"tools/list": page}))
    assert (listed, problems) == (["one"] if is_offered else [], "")


@pytest.mark.parametrize("part", ["done", "do\\ud83dne"])
@pytest.mark.parametrize(
    "body",
    [
        MARK + "DONE",
        MARK + "event: message\ndata: DONE\n\n",
        MARK + "data: DONE\r\n\r\n",
        "event: message\r\ndata: DONE\r\n\r\n",
        "data: DONE",
        ": life\n\ndata: ping\n\ndata: DONE\n\n",
        'data: {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}\n\ndata: DONE\n\n',
    ],
)
def test_an_answer_over_http_is_used(body, part):
    media_type = "text/event-stream" if "data" in body else "application/json"

    def reply(request: dict[str, Any]) -> Reply | None:
        text = DONE.replace("done", part).replace("ID", str(request.get("id")))
        return (200, media_type, body.replace("DONE", text)) if request["method"] == "tools/call" else None

    with scripted_http(reply) as server:
        result = play(lambda: call(server.spec()))
    assert (result.content.replace("?", ""), result.is_error) == ("done", False)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"serverInfo": None}, "A server without a name"),
        ({"serverInfo": "scripted"}, "scripted"),
        ({"serverInfo": {"name": "scripted", "version": 2}}, "scripted 2"),
        ({"serverInfo": {"name": None}}, "A server without a name"),
        ({"capabilities": None}, "scripted 1"),
        ({"capabilities": []}, "scripted 1"),
        ({"capabilities": {"tools": True}}, "scripted 1"),
        ({"instructions": ["Be kind."]}, "scripted 1"),
    ],
)
def test_a_server_that_says_little_of_itself_works(tmp_path, changes, shown):
    result = {name: value for name, value in (ORDINARY["initialize"] | changes).items() if value is not None}
    report = play(lambda: mcp.check(scripted_stdio(tmp_path, {"initialize": message(result)})))
    assert report.message == f"{shown} answers; it has 1 tools."


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (message({}), "its first answer breaks the rules of the protocol"),
        (message(5), "its first answer breaks the rules of the protocol"),
        (message(ORDINARY["initialize"] | {"protocolVersion": 3}), "its first answer breaks the rules of the protocol"),
        (message(ORDINARY["initialize"] | {"protocolVersion": "1999-01-01"}), "it speaks no protocol version that"),
        ('{"jsonrpc": "2.0", "id": ID, "error": "no licence"}', "it says: no licence"),
        ('{"jsonrpc": "2.0", "id": ID}', "its answer breaks the rules of the protocol"),
    ],
)
def test_a_server_that_cannot_be_used_has_a_reason(tmp_path, answer, reason):
    report = play(lambda: mcp.check(scripted_stdio(tmp_path, {"initialize": answer})))
    assert not report.ok
    assert report.message.startswith(f"The MCP server 'scripted' is not available: {reason}"), report.message
    assert "validation" not in report.message


def names(spec: ServerSpec) -> tuple[list[str], str]:
    """The server's tools, and what is said about others."""
    source = mcp.source(spec)

    async def listed() -> tuple[list[str], str]:
        return [tool.own_name for tool in await source.tools()], source.left_out()

    return play(listed)


def tool(name: str) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}}


@pytest.mark.parametrize(
    ("cursors", "tools", "problem"),
    [
        (["a", "a"], 2, ""),
        (["a", "b", "a", "b"], 3, ""),
        ([1, 2, 1], 3, ""),
        ([0], 2, ""),
        ([1.5], 2, ""),
        ([None], 1, ""),
        ([""], 1, ""),
        ([False], 1, ""),
        ([{"at": 1}], 1, ""),
        (["more", "error"], 2, "the server sent an error instead of a page: out of paper"),
        (["for ever"], 6, "it has more than 1000 tools or 4 pages"),
    ],
)
def test_a_list_in_pages_ends(monkeypatch, cursors, tools, problem):
    """Each page has a tool of its own, and these cursors in turn."""
    seen: Counter[str] = Counter()

    def reply(request: dict[str, Any]) -> Reply | None:
        if request["method"] != "tools/list":
            return None
        number = seen["page"] = seen["page"] + 1 if request.get("params") else 0  # the list may be read again
        if number:
            assert request["params"]["cursor"] == (cursors[number - 1] if cursors != ["for ever"] else str(number - 1))
        cursor: Any = cursors[number] if number < len(cursors) else None
        if cursors == ["for ever"]:
            cursor = str(number)
        body: dict[str, Any] = {"result": {"tools": [tool(f"tool-{number}")], "nextCursor": cursor}}
        if cursors[number - 1 : number] == ["error"]:
            body = {"error": {"code": -32000, "message": "out of paper"}}
        return 200, "application/json", json.dumps({"jsonrpc": "2.0", "id": request["id"], **body})

    monkeypatch.setattr(tool_pages, "_MAX_PAGES", 4)
    with scripted_http(reply) as server:
        listed, problems = names(server.spec())
    assert len(listed) == tools
    assert problems == (problem and f"The list of tools of the MCP server 'scripted' is not complete: {problem}.")


def test_a_strict_server_gets_a_number_as_text():
    def reply(request: dict[str, Any]) -> Reply | None:
        if request["method"] != "tools/list":
            return None
        cursor = request.get("params", {}).get("cursor")
        if isinstance(cursor, int):
            body: dict[str, Any] = {"error": {"code": -32602, "message": "cursor: expected string"}}
        else:
            body = {"result": {"tools": [tool(f"tool-{cursor}")], **({} if cursor else {"nextCursor": 7})}}
        return 200, "application/json", json.dumps({"jsonrpc": "2.0", "id": request["id"], **body})

    with scripted_http(reply) as server:
        assert names(server.spec()) == (["tool-None", "tool-7"], "")


def test_a_list_that_takes_too_long_is_used_as_far_as_it_came(tmp_path, monkeypatch):
    monkeypatch.setattr(tool_pages, "_MAX_SECONDS", 0.2)
    page = message({"tools": [tool("one")], "nextCursor": "2"})
    spec = scripted_stdio(tmp_path, {f"tools/list.{n}": page if n % 2 else "-" for n in range(1, 5)})
    listed, problems = names(spec)
    assert listed == ["one"]
    assert problems.endswith("is not complete: it takes longer than 0.2 seconds.")

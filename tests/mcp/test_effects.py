"""The effect of a call is told truly, whatever a server answers: made, not made, or unknown; and none is made twice."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from agents_app.engine import mcp
from agents_app.engine.spec import ServerSpec
from agents_app.engine.toolset import ToolResult
from tests.harness.fakes.mcp_servers import Reply, own, scripted_http, scripted_stdio

T = TypeVar("T")


def play(story: Callable[[], Awaitable[T]]) -> T:
    """Play it in an event loop of its own, and close the connections."""

    async def whole() -> T:
        try:
            return await asyncio.wait_for(story(), 60)
        finally:
            await mcp.close_servers()

    return asyncio.run(whole())


async def call(spec: ServerSpec, tool: str = "act", **arguments: object) -> ToolResult:
    return await mcp.call_tool(spec, tool, arguments, lambda text: None)


def answer_to_calls(reply: Callable[[dict[str, Any]], Reply]) -> Callable[[dict[str, Any]], Reply | None]:
    return lambda message: reply(message) if message["method"] == "tools/call" else None


def error(request_id: object, text: str, code: int = -32000) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}})


UNKNOWN = "The outcome of this call is unknown, it may or may not have taken effect: "


@pytest.mark.parametrize(
    ("status", "media_type", "body"),
    [
        (200, "text/plain", "OK"),
        (200, "text/html", "<html>Done</html>"),
        (200, "", ""),
        (200, "application/json", ""),
        (200, "application/json", "[]"),
        (200, "application/json", '[{"jsonrpc":"2.0","id":2,"result":{}}]'),
        (200, "application/json", '"done"'),
        (200, "application/json", '{"status":"ok"}'),
        (200, "application/json", '{"jsonrpc":"2.0","method":"ping","id":7}'),
        (200, "application/json", "{"),
        (201, "application/json", "null"),
        (202, "", ""),
        (204, "", ""),
        (200, "text/event-stream", ""),
        (200, "text/event-stream", "data: [1]\n\n"),
        (200, "text/event-stream", 'data: {"status":"ok"}\n\n'),
        (200, "text/event-stream", "data: keep alive\n\n"),
        (303, "text/html", "See there"),
        (400, "text/plain", "The session of the user has ended"),
        (400, "text/html", "<html>No</html>"),
        (409, "application/json", '{"detail":"done already"}'),
        (422, "application/json", "{}"),
        (500, "text/plain", "Traceback"),
        (504, "text/html", "<html>Gateway time-out</html>"),
    ],
)
def test_a_call_whose_answer_says_nothing_may_have_been_made(status, media_type, body):
    with scripted_http(answer_to_calls(lambda message: (status, media_type, body))) as server:
        result = play(lambda: call(server.spec()))
    assert result.is_error
    assert result.content.startswith(UNKNOWN), result.content
    assert "valid" not in result.content and "Traceback" not in result.content
    assert server.methods.count("tools/call") == 1


@pytest.mark.parametrize("status", [401, 403, 405, 413, 415, 429])
def test_a_call_that_is_rejected_by_its_status_was_not_made(status):
    with scripted_http(answer_to_calls(lambda message: (status, "text/plain", "no"))) as server:
        result = play(lambda: call(server.spec()))
    assert result.content.startswith("The call was not made: "), result.content


@pytest.mark.parametrize(
    ("status", "request_id"),
    [(200, "same"), (200, "text"), (200, None), (400, "same"), (400, None), (404, "same"), (500, "text")],
)
@pytest.mark.parametrize(
    ("code", "text"), [(-32000, "No such customer"), (-32000, "Your session has ended"), (-31903, "Ours")]
)
def test_an_error_of_the_server_is_its_answer(status, request_id, code, text):
    def reply(message: dict[str, Any]) -> Reply:
        ids = {"same": message["id"], "text": str(message["id"]), None: None}
        return status, "application/json", error(ids[request_id], text, code)

    with scripted_http(answer_to_calls(reply)) as server:
        result = play(lambda: call(server.spec()))
    assert (result.content, result.is_error) == (text, True)
    assert server.methods.count("tools/call") == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "Not found"),
        (404, error(None, "Session not found", -32001)),
        (404, error("server-error", "Session not found", -32600)),
        (400, error(None, "Bad Request: No valid session ID provided")),
        (400, "Invalid session ID"),
    ],
)
def test_a_call_that_meets_a_lost_session_is_made_once_in_another(status, body):
    """The first session ends before its first call."""
    seen: Counter[str] = Counter()

    def answer(message: dict[str, Any]) -> Reply | None:
        seen[message["method"]] += 1
        if message["method"] == "initialize" or seen["initialize"] == 2 or not seen["tools/call"]:
            return None
        return status, "application/json" if body.startswith("{") else "text/plain", body

    with scripted_http(answer) as server:
        result = play(lambda: call(server.spec()))
    assert (result.content, result.is_error) == ("done", False)
    assert (seen["tools/call"], seen["initialize"]) == (2, 2)


def test_an_error_without_an_id_answers_the_one_open_request(tmp_path):
    spec = scripted_stdio(tmp_path, {"tools/call": error(None, "Parse error", -32700)})
    assert play(lambda: call(spec)) == ToolResult("Parse error", is_error=True)


def test_an_error_without_an_id_answers_none_of_two_requests(tmp_path):
    spec = own(tmp_path)

    async def story() -> list[ToolResult]:
        return await asyncio.gather(call(spec, "refuse_nobody", wait=0.2), call(spec, "slow", seconds=0.5))

    assert [result.content for result in play(story)] == ["refused nobody", "done"]

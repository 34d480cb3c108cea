"""What the MCP SDK lacks, asserted of the SDK itself: the table in agents_app/engine/mcp/README.md, one test per row.

A test that fails says that the SDK closed a gap. Delete what its message names, the row of the table and the test.
"""

import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp_types as types
import psutil
import pytest
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from tests.harness.paths import ROOT

URL = "http://server.example/mcp"
README = ROOT / "agents_app/engine/mcp/README.md"
Handler = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


def request(request_id: int, method: str = "ping") -> SessionMessage:
    return SessionMessage(types.JSONRPCRequest(jsonrpc="2.0", id=request_id, method=method))


def python(code: str, *args: object) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=["-c", code, *map(str, args)])


async def pids_in(path: Path) -> tuple[int, int]:
    """The process ids of a server's child and of the server, which the server writes there."""
    with anyio.fail_after(30):
        while not (path.exists() and path.read_text().endswith(".")):
            await anyio.sleep(0.01)
    child, server = path.read_text().removesuffix(".").split()
    return int(child), int(server)


async def is_silent(waiting: Awaitable[Any]) -> bool:
    """Whether nothing comes for a while."""
    try:
        await asyncio.wait_for(waiting, 0.5)
    except TimeoutError:
        return True
    return False


@contextlib.contextmanager
def still_raises(error: type[Exception], remedy: str) -> Iterator[None]:
    """See that the block raises the error, alone or in a group."""
    try:
        yield
    except error:
        return
    except BaseExceptionGroup as group:
        assert group.subgroup(error) is not None, group
        return
    pytest.fail(remedy)


CHILD = """
import os, pathlib, subprocess, sys
child = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout={stdout}, stderr=subprocess.DEVNULL)
pathlib.Path(sys.argv[1]).write_text(f"{{child.pid}} {{os.getpid()}}.")
"""


def test_stdio_bounds_no_line():
    names = {*inspect.signature(stdio_client).parameters, *StdioServerParameters.model_fields}
    assert not {name for name in names if re.search("max|limit|size", name)}, (
        "stdio_client takes a bound for a line: delete _Lines and _TooLong in transports/stdio.py"
    )

    async def story() -> None:
        code = 'print(\'{"jsonrpc":"2.0","id":1,"result":{"t":"\' + "x" * 5 * 2**20 + \'"}}\')'
        async with stdio_client(python(code)) as (read, _):
            assert isinstance(await read.receive(), SessionMessage), (
                "stdio_client rejects a long line: delete _Lines and _TooLong in transports/stdio.py"
            )

    anyio.run(story)


def test_stdio_leaves_the_children_of_a_server_that_exits_in_time(tmp_path):
    async def story() -> int:
        code = CHILD.format(stdout="subprocess.DEVNULL") + "sys.stdin.read()"
        async with stdio_client(python(code, tmp_path / "pid")):
            return (await pids_in(tmp_path / "pid"))[0]

    pid = anyio.run(story)
    try:
        assert psutil.pid_exists(pid), (
            "stdio_client ends the whole process group: shorten end() in engine/sandbox/process.py"
        )
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_stdio_does_not_report_that_a_server_exited(tmp_path):
    async def story() -> None:
        async with stdio_client(python(CHILD.format(stdout="None"), tmp_path / "pid")) as (read, _):
            child, server = await pids_in(tmp_path / "pid")
            try:
                with anyio.fail_after(30):
                    while psutil.pid_exists(server):
                        await anyio.sleep(0.01)
                assert await is_silent(read.receive()), (
                    "stdio_client ends its stream with the process: delete _watch in transports/stdio.py"
                )
            finally:
                os.kill(child, signal.SIGKILL)

    anyio.run(story)


def test_stdio_writes_standard_error_only_to_a_file():
    async def story() -> None:
        remedy = "stdio_client writes standard error to any stream: log from there in transports/stderr_log.py"
        with still_raises(io.UnsupportedOperation, remedy):
            async with stdio_client(python(""), errlog=io.StringIO()):
                pass

    anyio.run(story)


def test_stdio_sets_no_limits_of_resources():
    assert set(StdioServerParameters.model_fields) == {
        "command", "args", "env", "cwd", "encoding", "encoding_error_handler",
    }, "StdioServerParameters has new fields: if they set limits, shorten engine/sandbox/launcher.py"  # fmt: skip


@contextlib.asynccontextmanager
async def http_streams(handler: Handler, **options: Any) -> AsyncIterator[Any]:
    async with (
        httpx2.AsyncClient(transport=httpx2.MockTransport(handler)) as client,
        streamable_http_client(URL, http_client=client, **options) as streams,
    ):
        yield streams


async def http_answer(handler: Handler, **options: Any) -> types.JSONRPCMessage:
    """The answer to one request."""
    async with http_streams(handler, **options) as (read, write):
        await write.send(request(1))
        item = await read.receive()
        assert isinstance(item, SessionMessage)
        return item.message


def test_http_ends_the_connection_if_one_request_fails():
    async def handler(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    remedy = "streamable_http_client answers a request that fails: delete that part of ReportingTransport._exchange"
    with still_raises(httpx2.ConnectError, remedy):
        anyio.run(http_answer, handler)


def test_http_does_not_say_what_a_server_answered():
    async def handler(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(503, text="down for maintenance")

    answer = anyio.run(http_answer, handler)
    assert isinstance(answer, types.JSONRPCError)
    assert "503" not in answer.error.message, (
        "streamable_http_client reports the status: delete ReportingTransport._note in transports/http_errors.py"
    )


def test_http_begins_no_new_session_after_404():
    methods: list[str] = []

    async def handler(sent: httpx2.Request) -> httpx2.Response:
        if sent.method != "POST":
            return httpx2.Response(405)
        methods.append(method := json.loads(sent.content)["method"])
        if method != "initialize":
            return httpx2.Response(404)
        result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
        return httpx2.Response(
            200, json={"jsonrpc": "2.0", "id": 1, "result": result}, headers={"mcp-session-id": "one"}
        )

    async def story() -> None:
        async with http_streams(handler) as (read, write):
            await write.send(request(1, "initialize"))
            await read.receive()
            await write.send(request(2))
            item = await read.receive()
            assert isinstance(item, SessionMessage)
            assert isinstance(item.message, types.JSONRPCError)

    anyio.run(story)
    assert methods == ["initialize", "ping"], (
        "streamable_http_client begins a new session: delete SESSION_LOST and ToolRequest.is_repeat"
    )


def test_http_takes_what_is_no_message_for_an_error_of_the_server():
    async def handler(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=["done"])

    answer = anyio.run(http_answer, handler)
    assert isinstance(answer, types.JSONRPCError)
    assert "validation error" in answer.error.message, (
        "streamable_http_client has words of its own for no message: delete EventBody and ReportingTransport._answer"
    )


def test_http_bounds_no_json_body():
    async def handler(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"jsonrpc": "2.0", "id": 1, "result": {"t": "x" * 100_000}})

    async def story() -> types.JSONRPCMessage:
        return await http_answer(handler, max_sse_event_size=1000)

    assert isinstance(anyio.run(story), types.JSONRPCResponse), (
        "streamable_http_client bounds JSON bodies: delete the bound in ReportingTransport._check"
    )


def test_http_waits_for_the_response_of_a_cancelled_request():
    async def story() -> None:
        aborted, notified = asyncio.Event(), asyncio.Event()

        async def handler(sent: httpx2.Request) -> httpx2.Response:
            if b"notifications/cancelled" in sent.content:
                notified.set()
                return httpx2.Response(202)
            try:
                await asyncio.Event().wait()
            finally:
                aborted.set()
            raise AssertionError

        async with http_streams(handler) as (_, write):
            await write.send(request(1, "tools/call"))
            cancelled = types.JSONRPCNotification(
                jsonrpc="2.0", method="notifications/cancelled", params={"requestId": 1}
            )
            await write.send(SessionMessage(cancelled))
            await notified.wait()
            assert await is_silent(aborted.wait()), (
                "streamable_http_client closes a cancelled request: delete abort() and http_body.Wait"
            )

    asyncio.run(story())


@contextlib.asynccontextmanager
async def sse_streams(events: bytes, post: Handler) -> AsyncIterator[Any]:
    """The SDK's transport to a server that sends these events and then nothing."""
    over = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield b"event: endpoint\ndata: /messages\n\n" + events
        await over.wait()

    async def handler(sent: httpx2.Request) -> httpx2.Response:
        if sent.method == "POST":
            return await post(sent)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream())

    def client(**_: Any) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(handler))

    async with sse_client(URL, httpx_client_factory=client) as streams:
        yield streams


async def no_post(_: httpx2.Request) -> httpx2.Response:
    raise AssertionError


def test_sse_takes_no_event_above_1_mib():
    message = b'event: message\ndata: {"jsonrpc":"2.0","id":1,"result":{"t":"' + b"x" * 2**20 + b'"}}\n\n'

    async def story() -> None:
        async with sse_streams(message, no_post) as (read, _):
            await read.receive()

    with still_raises(httpx2.SSEError, "sse_client takes large events: one reason less for transports/sse.py"):
        asyncio.run(story())


def test_sse_gives_no_answer_to_a_request_that_the_server_rejects():
    async def story() -> None:
        posted = asyncio.Event()

        async def post(_: httpx2.Request) -> httpx2.Response:
            posted.set()
            return httpx2.Response(500)

        async with sse_streams(b"", post) as (read, write):
            await write.send(request(1))
            await posted.wait()
            assert await is_silent(read.receive()), (
                "sse_client reports a failed POST: delete _rejection in transports/sse.py"
            )

    asyncio.run(story())


def test_sse_sends_one_message_at_a_time():
    async def story() -> None:
        posts: asyncio.Queue[bytes] = asyncio.Queue()

        async def post(sent: httpx2.Request) -> httpx2.Response:
            posts.put_nowait(sent.content)
            await asyncio.Event().wait()
            raise AssertionError

        async with sse_streams(b"", post) as (_, write):
            await write.send(request(1))
            await posts.get()
            second = asyncio.create_task(write.send(request(2)))
            assert await is_silent(posts.get()), (
                "sse_client sends at the same time: one reason less for transports/sse.py"
            )
            second.cancel()

    asyncio.run(story())


def test_a_list_of_tools_fails_for_one_odd_tool():
    tools = [{"name": "good", "inputSchema": {"type": "object"}}, {"name": "odd", "inputSchema": None}]
    with still_raises(ValidationError, "Odd tools are accepted: use ClientSession.list_tools in session.py"):
        types.ListToolsResult.model_validate({"tools": tools})


def test_a_message_with_half_a_surrogate_pair_is_rejected():
    with still_raises(ValidationError, "Half a surrogate pair is accepted: delete _repair in json_rpc.py"):
        types.jsonrpc_message_adapter.validate_json(rb'{"jsonrpc":"2.0","id":1,"result":{"t":"\ud83d"}}', by_name=False)


def test_a_session_does_not_report_its_end():
    names = set(inspect.signature(ClientSession).parameters)
    assert not {name for name in names if re.search("close|end|disconnect", name)}, (
        "ClientSession takes a callback for its end: delete Inbox.aclose in message_streams.py"
    )


def test_an_error_without_an_id_answers_nothing():
    async def story() -> None:
        incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](1)
        write, outgoing = anyio.create_memory_object_stream[SessionMessage](1)
        async with outgoing, incoming, ClientSession(read, write) as session:
            asking = asyncio.create_task(session.send_ping())
            await outgoing.receive()
            error = types.ErrorData(code=types.PARSE_ERROR, message="?")
            await incoming.send(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=None, error=error)))
            assert await is_silent(asyncio.shield(asking)), (
                "An error without an id answers the only request: delete Outbox and Requests.only_one"
            )
            asking.cancel()

    asyncio.run(story())


def test_each_gap_has_a_row_in_the_readme():
    tests = {name for name, value in globals().items() if name.startswith("test_") and callable(value)}
    tests.remove("test_each_gap_has_a_row_in_the_readme")
    assert set(re.findall(r"`(test_\w+)`", README.read_text())) - {"test_sdk_gaps"} == tests

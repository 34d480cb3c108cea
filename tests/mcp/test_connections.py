"""Connections to MCP servers, through the package's own interface: real servers, and one that misbehaves."""

import asyncio
import base64
import contextlib
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from agents_app.engine import mcp
from agents_app.engine.mcp import connection
from agents_app.engine.mcp.transports import stderr_log
from agents_app.engine.sandbox import daemons
from agents_app.engine.spec import ProcessLimits, ServerSpec
from agents_app.engine.toolset import NAME, Call, Tool, ToolError, ToolResult, ToolsUnavailable
from tests.harness import guard
from tests.harness.daemon import free_port
from tests.harness.fakes import mcp_servers
from tests.harness.fakes.mcp_servers import Everything, odd_http, own
from tests.harness.paths import ROOT

pytestmark = pytest.mark.slow

T = TypeVar("T")
Ask = Callable[..., Awaitable[ToolResult]]
ME = psutil.Process()


def nothing(_: str) -> None:
    """Progress that nobody looks at."""


_others: set[psutil.Process] = set()  # servers that other tests share, and that live on


@pytest.fixture(autouse=True)
def only_ours():
    _others.clear()
    _others.update(ME.children(recursive=True))


def children() -> list[psutil.Process]:
    """The processes that connections started, and theirs; not the servers that tests started themselves."""
    rows = []
    for child in ME.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child not in _others and guard.MARK not in child.environ() and guard.__file__ not in child.cmdline():
                rows.append(child)
    return rows


def in_a_loop(story: Callable[[], Awaitable[T]]) -> T:
    """Play it in an event loop of its own, and see that nothing of it is left."""

    async def play() -> T:
        try:
            async with asyncio.timeout(600):
                return await story()
        finally:
            await mcp.close_servers()
            for _ in range(500):  # for what is cancelled to end
                if asyncio.all_tasks() == {asyncio.current_task()} and not children():
                    break
                await asyncio.sleep(0.01)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert not children(), children()

    return asyncio.run(play())


async def ask(spec: ServerSpec, tool: str, **arguments: object) -> ToolResult:
    return await mcp.call_tool(spec, tool, arguments, nothing)


async def tools(spec: ServerSpec) -> dict[str, Tool]:
    return {tool.name: tool for tool in await mcp.source(spec).tools()}


async def until(condition: Callable[[], Any], timeout: float = 60) -> Any:
    """Look again and again; what it says when it is true."""
    deadline = time.monotonic() + timeout
    while not (response := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)
    return response


async def cancelled(call: asyncio.Task) -> float:
    """Cancel it; how long that took, in seconds."""
    began = time.monotonic()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    return time.monotonic() - began


def effects(spec: ServerSpec) -> list[str]:
    """What our own server did."""
    path = Path(dict(spec.env)["EFFECTS"])
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def over_http() -> Iterator[Everything]:
    with Everything("streamableHttp") as running:
        yield running


@pytest.fixture(scope="module")
def over_sse() -> Iterator[Everything]:
    with Everything("sse") as running:
        yield running


@pytest.fixture(params=["stdio", "sse", "streamable_http"])
def everything(request: pytest.FixtureRequest, tmp_path: Path) -> ServerSpec:
    """The official server that has something of everything, by each transport."""
    if request.param == "stdio":
        return mcp_servers.everything(tmp_path)
    return request.getfixturevalue("over_sse" if request.param == "sse" else "over_http").spec()


# Servers that nobody here wrote


def test_an_official_server_works_by_each_transport(everything):
    shown: list[str] = []

    async def story():
        report = await mcp.check(everything)
        assert (report.ok, report.server_name) == (True, "mcp-servers/everything")
        assert report.message == f"mcp-servers/everything 2.0.0 answers; it has {len(report.tools)} tools."
        assert report.protocol_version == "2025-11-25"
        assert {"everything__echo", "everything__get-sum"} <= (await tools(everything)).keys()
        assert (await ask(everything, "get-sum", a=2, b=40)).content == "The sum of 2 and 40 is 42."
        slow = (await tools(everything))["everything__trigger-long-running-operation"]
        assert slow.may_run_again
        result = await slow.call({"duration": 0.4, "steps": 4}, Call("call_1", shown.append))
        assert isinstance(result, ToolResult) and result.content.startswith("Long running operation completed.")
        image = await ask(everything, "get-tiny-image")
        assert "[image image/png, 4,033 bytes, kept as an attachment]" in image.content
        assert [(a.kind, a.media_type, a.data[:4]) for a in image.attachments] == [("image", "image/png", b"\x89PNG")]
        weather = await ask(everything, "get-structured-content", location="New York")
        assert json.loads(weather.content) == json.loads(weather.attachments[0].data)
        links = await ask(everything, "get-resource-links", count=2)
        assert links.content.count("[link demo://") == 2
        refused = await ask(everything, "get-sum", a="two", b=40)
        assert refused.is_error and "Invalid" in refused.content

    in_a_loop(story)
    assert shown == ["1/4", "2/4", "3/4", "4/4"]


def test_a_large_result_comes_by_each_transport(everything):
    noise = base64.b64encode(random.Random(1).randbytes(3_000_000)).decode()
    arguments = {"name": "noise.gz", "data": f"data:application/octet-stream;base64,{noise}", "outputType": "resource"}

    async def story():
        return await ask(everything, "gzip-file-as-resource", **arguments)

    result = in_a_loop(story)
    assert not result.is_error, result.content[:300]
    assert [len(a.data) > 3_000_000 for a in result.attachments] == [True]


def test_the_server_of_files_writes_and_reads(tmp_path):
    spec = mcp_servers.filesystem(tmp_path)

    async def story():
        path = str(tmp_path / "note.txt")
        written = await ask(spec, "write_file", path=path, content="remember")
        assert not written.is_error, written.content
        read = await ask(spec, "read_text_file", path=path)
        outside = await ask(spec, "read_text_file", path="/etc/passwd")
        return read.content, outside

    read, outside = in_a_loop(story)
    assert "remember" in read
    assert outside.is_error and "denied" in outside.content.lower()


def test_a_server_with_an_older_sdk_works(tmp_path):
    spec = mcp_servers.clock(tmp_path)

    async def story():
        return await ask(spec, "convert_time", source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo")

    assert json.loads(in_a_loop(story).content)["time_difference"] == "+9.0h"


def test_a_server_of_the_protocol_without_a_handshake_works(tmp_path):
    spec = own(tmp_path, "--modern")

    async def story():
        assert (await mcp.check(spec)).protocol_version == "2026-07-28"
        return (await ask(spec, "echo", text="hello")).content

    assert in_a_loop(story) == "hello"


# Its tools


def test_every_tool_has_a_name_that_providers_take(tmp_path):
    spec = own(tmp_path)

    async def story():
        first = await tools(spec)
        await mcp.close_servers()
        assert (await tools(spec)).keys() == first.keys()
        long = [tool for name, tool in first.items() if "goes_on" in name]
        response = await long[0].call({"text": "found"}, Call("1", nothing))
        assert isinstance(response, ToolResult) and response.content == "found"
        return first

    names = in_a_loop(story)
    assert all(re.fullmatch(NAME, name) for name in names)
    assert sorted(tool.own_name for name, tool in names.items() if "odd" in name) == [
        "odd name",
        "odd.name",
        "odd_name",
    ]
    assert names["own__odd_name"].own_name == "odd_name"
    assert len([name for name in names if "goes_on" in name]) == 2


def test_every_schema_describes_an_object(tmp_path):
    rows = in_a_loop(lambda: tools(own(tmp_path)))
    assert all(tool.parameters["type"] == "object" for tool in rows.values())
    assert all(isinstance(tool.parameters["properties"], dict) for tool in rows.values())
    assert rows["own__schema_without_type"].parameters["required"] == ["a"]


def test_hints_and_time_outs_go_with_a_tool(tmp_path):
    rows = in_a_loop(lambda: tools(own(tmp_path, timeout=7, tool_timeouts=(("slow", 90.0),))))
    assert [rows["own__echo"].read_only, rows["own__echo"].idempotent] == [True, False]
    assert [rows["own__slow"].read_only, rows["own__slow"].idempotent] == [False, True]
    assert [rows["own__echo"].timeout, rows["own__slow"].timeout] == [7, 90.0]


def test_only_tools_that_are_allowed_are_there(tmp_path):
    spec = own(tmp_path, allowed=("e*", "cr*"), denied=("crash",))

    async def story():
        with pytest.raises(ToolError, match=r"'crash' of the MCP server 'own' may not be used"):
            await ask(spec, "crash")
        return await tools(spec)

    assert list(in_a_loop(story)) == ["own__echo"]


def test_a_list_in_pages_is_read_to_its_end(tmp_path):
    assert in_a_loop(lambda: tools(own(tmp_path, "--pages"))).keys() == in_a_loop(lambda: tools(own(tmp_path))).keys()


def test_the_list_follows_the_server_and_is_asked_for_only_then(tmp_path):
    spec = own(tmp_path)

    async def story():
        source = mcp.source(spec)
        before = await source.tools()
        assert await source.tools() is before
        await ask(spec, "grow")
        while "own__grown_1" not in await tools(spec):
            await asyncio.sleep(0.01)

    in_a_loop(story)


# Results


def test_each_kind_of_content_finds_its_place(tmp_path):
    result = in_a_loop(lambda: ask(own(tmp_path), "mixed"))
    assert result.content.splitlines() == [
        "first\ufffd ?",
        "[audio audio/wav, 5 bytes, kept as an attachment]",
        "[resource file:///a]",
        "inside",
        "[resource file:///b application/octet-stream, 5 bytes, kept as an attachment]",
        "[link file:///c, see]",
        "[image image/png, not readable: invalid base64]",
        '{"type": "hologram", "beam": 1}',
        "no part at all",
    ]
    kept = [(a.kind, a.media_type, a.data, a.name) for a in result.attachments]
    assert kept == [
        ("audio", "audio/wav", b"sound", ""),
        ("resource", "application/octet-stream", b"bytes", "file:///b"),
        ("structured", "application/json", b'{"n": 1}', ""),
    ]


def test_structured_content_alone_is_the_text(tmp_path):
    result = in_a_loop(lambda: ask(own(tmp_path), "structured"))
    assert (result.content, result.attachments) == ('{"ü": [1, null]}', ())


def test_a_long_text_is_cut_for_the_model_and_kept_whole(tmp_path):
    result = in_a_loop(lambda: ask(own(tmp_path), "huge", size=60_000))
    assert result.content.startswith("x" * 50_000 + "\n[10,000 more characters left out")
    assert [(a.kind, len(a.data)) for a in result.attachments] == [("text", 60_000)]


@pytest.mark.parametrize("megabytes", [20, 30])
def test_a_result_has_bounds(tmp_path, megabytes):
    spec = own(tmp_path)

    async def story():
        result = await ask(spec, "huge", size=megabytes * 1024**2)
        assert (await ask(spec, "echo", text="still here")).content == "still here"
        return result

    result = in_a_loop(story)
    assert result.is_error and "16 MiB" in result.content and not result.attachments


def test_a_large_image_is_kept(tmp_path):
    result = in_a_loop(lambda: ask(own(tmp_path), "image", size=15 * 1024**2))
    assert [len(a.data) for a in result.attachments] == [15 * 1024**2]


def test_errors_of_a_tool_and_of_the_protocol_are_results(tmp_path):
    spec = own(tmp_path)

    async def story():
        return await ask(spec, "wrong"), await ask(spec, "refuse")

    wrong, refused = in_a_loop(story)
    assert (wrong.content, wrong.is_error) == ("that did not work", True)
    assert (refused.content, refused.is_error) == ("Not today.", True)


def test_garbage_between_messages_does_no_harm(tmp_path, caplog):
    caplog.set_level(logging.INFO, "agents_app.mcp")
    assert in_a_loop(lambda: ask(own(tmp_path), "garbage")).content == "after the garbage"
    assert "own: (not a protocol message) Hello!" in caplog.messages


# Calls at the same time, and cancelled ones


def test_200_calls_run_at_the_same_time_on_one_connection(tmp_path):
    spec = own(tmp_path)

    async def story():
        began = time.monotonic()
        calls = [ask(spec, "slow", seconds=1, steps=1, mark=str(n)) for n in range(200)]
        assert {result.content for result in await asyncio.gather(*calls)} == {"done"}
        return time.monotonic() - began

    assert in_a_loop(story) < 60
    assert effects(spec).count("started") == 1


def test_a_cancelled_call_disturbs_no_other(tmp_path):
    spec = own(tmp_path)

    async def story():
        others = [asyncio.create_task(ask(spec, "slow", seconds=3)) for _ in range(5)]
        stubborn = asyncio.create_task(ask(spec, "slow", seconds=600, stubborn=True, mark="stubborn"))
        await until(lambda: "began stubborn" in effects(spec))
        process = children()[0]
        assert await cancelled(stubborn) < 5
        assert (await ask(spec, "echo", text="meanwhile")).content == "meanwhile"
        assert [(await other).content for other in others] == ["done"] * 5
        await until(lambda: not process.is_running())  # nobody is left whom that would disturb

    in_a_loop(story)
    assert effects(spec).count("cancelled") == 1
    assert "done stubborn" not in effects(spec)


def test_cancelling_releases_at_once_and_ends_the_work(tmp_path):
    spec = own(tmp_path)

    async def story():
        call = asyncio.create_task(ask(spec, "slow", seconds=60, stubborn=True, mark="it"))
        await until(lambda: "began it" in effects(spec))
        child = children()[0]
        took = await cancelled(call)
        await until(lambda: not child.is_running())
        assert (await ask(spec, "echo", text="again")).content == "again"
        return took

    assert in_a_loop(story) < 5
    assert effects(spec).count("started") == 2


def test_a_server_that_answers_a_cancelled_call_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "CANCEL_GRACE", 3)
    spec = own(tmp_path)

    async def story():
        call = asyncio.create_task(ask(spec, "slow", seconds=60, steps=6000, mark="it"))
        await until(lambda: "began it" in effects(spec))
        await cancelled(call)
        assert (await ask(spec, "slow", seconds=4)).content == "done"  # longer than the grace
        assert (await ask(spec, "echo", text="still here")).content == "still here"

    in_a_loop(story)
    assert effects(spec).count("started") == 1


def test_a_call_that_takes_too_long_is_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "CANCEL_GRACE", 30)  # after it the process is ended, whatever it has done by then
    spec = own(tmp_path, tool_timeouts=(("slow", 1.5),))

    async def story():
        await ask(spec, "echo")  # to connect takes time too
        with pytest.raises(ToolError, match=r"gave no result within 1\.5 seconds"):
            await ask(spec, "slow", seconds=60)
        await until(lambda: "cancelled" in effects(spec))

    in_a_loop(story)


@pytest.mark.parametrize("kind", ["sse", "streamableHttp"])
def test_a_cancelled_call_over_http_leaves_no_connection(kind):
    with Everything(kind) as running:
        spec = running.spec()

        def sockets() -> int:
            return len([c for c in ME.net_connections() if c.raddr and c.raddr.port == running.port])

        async def story():
            await ask(spec, "echo", message="warm")
            calls = [
                asyncio.create_task(ask(spec, "trigger-long-running-operation", duration=600, steps=1))
                for _ in range(30)
            ]
            if kind == "streamableHttp":
                await until(lambda: sockets() > 30)
            else:
                await asyncio.gather(*(ask(spec, "echo", message="all are sent") for _ in range(30)))
            for call in calls:
                assert await cancelled(call) < 5
            await until(lambda: sockets() <= 22)  # 20 may be kept alive
            assert "echo" in (await ask(spec, "echo", message="echo")).content

        in_a_loop(story)


# Failures


def test_a_crash_leaves_the_outcome_unknown_and_the_next_call_connects(tmp_path):
    spec = own(tmp_path)

    async def story():
        meanwhile = asyncio.create_task(ask(spec, "slow", seconds=60, mark="it"))
        await until(lambda: "began it" in effects(spec))
        results = [await ask(spec, "crash", status=3), await meanwhile]
        for result in results:
            assert result.is_error
            assert "outcome of this call is unknown" in result.content
            assert "its process ended with status 3" in result.content
        return (await ask(spec, "echo", text="back")).content

    assert in_a_loop(story) == "back"


def test_a_server_that_is_killed_says_so(tmp_path):
    spec = own(tmp_path)

    async def story():
        call = asyncio.create_task(ask(spec, "slow", seconds=60, mark="it"))
        await until(lambda: "began it" in effects(spec))
        children()[0].kill()
        return await call

    assert "its process was ended by SIGKILL" in in_a_loop(story).content


def test_a_server_that_closes_its_output_is_started_again(tmp_path):
    spec = own(tmp_path)

    async def story():
        assert "unknown" in (await ask(spec, "hang_up")).content
        return (await ask(spec, "echo", text="back")).content

    assert in_a_loop(story) == "back"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"command": "no-such-program"}, "there is no program 'no-such-program' on the PATH"),
        ({"command": "/no/such/program"}, "there is no program '/no/such/program'"),
        ({"args": ("-c", "exit(5)")}, "its process ended with status 5"),
        ({"args": ("-c", "print('hello')")}, "its process ended with status 0"),
    ],
)
def test_a_server_that_cannot_start_says_why(tmp_path, options, reason):
    spec = ServerSpec("files", "stdio", **{"command": sys.executable, **options}, folder=str(tmp_path / "new"))

    async def story():
        with pytest.raises(ToolsUnavailable) as refusal:
            await mcp.source(spec).tools()
        assert str(refusal.value) == f"The MCP server 'files' is not available: {reason}."
        report = await mcp.check(spec)
        assert (report.ok, report.tools) == (False, ())
        assert report.message.startswith(str(refusal.value))

    in_a_loop(story)


def test_the_last_words_of_a_server_are_in_its_report(tmp_path):
    report = in_a_loop(lambda: mcp.check(own(tmp_path, "--exit", "7")))
    assert report.message.endswith("ended with status 7. The last line that it logged: I had rather not")


def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.5)

    async def story():
        began = time.monotonic()
        with pytest.raises(ToolsUnavailable, match=r"did not answer within 0\.5 seconds"):
            await tools(own(tmp_path, "--silent"))
        assert time.monotonic() - began < 20

    in_a_loop(story)


def test_a_dead_server_is_not_started_for_everybody_who_asks(tmp_path):
    spec = own(tmp_path, "--exit", "1")
    began = time.monotonic()
    starts: set[int] = set()

    async def look():
        while True:
            starts.update(child.pid for child in children())
            await asyncio.sleep(0.001)

    async def story():
        looking = asyncio.create_task(look())
        while time.monotonic() < began + 2.5:
            with pytest.raises(ToolsUnavailable, match="status 1"):
                await tools(spec)
            await asyncio.sleep(0.001)
        looking.cancel()

    in_a_loop(story)
    assert len(starts) <= 3


def test_a_server_with_a_problem_is_not_started(tmp_path):
    spec = ServerSpec("files", "stdio", command="touch", args=("started",), folder=str(tmp_path), problem="Not so.")

    async def story():
        for use in (mcp.source(spec).tools(), ask(spec, "echo")):
            with pytest.raises(ToolsUnavailable, match=r"^Not so\.$"):
                await use
        assert (await mcp.check(spec)).message == "Not so."

    in_a_loop(story)
    assert not list(tmp_path.iterdir())


def test_an_idle_server_is_ended_and_starts_again(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "IDLE_TIMEOUT", 0.2)
    spec = own(tmp_path)

    async def story():
        assert (await ask(spec, "slow", seconds=1)).content == "done"
        await until(lambda: not children())
        return (await ask(spec, "echo", text="back")).content

    assert in_a_loop(story) == "back"
    assert effects(spec).count("started") == 2


def test_closing_ends_calls_and_processes_in_time(tmp_path):
    spec = own(tmp_path)

    async def story():
        await ask(spec, "fork")
        calls = [asyncio.create_task(ask(spec, "slow", seconds=60, stubborn=True, mark="it")) for _ in range(3)]
        await until(lambda: effects(spec).count("began it") == 3)
        began = time.monotonic()
        await mcp.close_servers()
        assert time.monotonic() - began < 20
        assert not children()
        return [await call for call in calls]

    assert all("unknown" in result.content for result in in_a_loop(story))


def test_a_loop_that_just_ends_leaves_no_process(tmp_path):
    spec = own(tmp_path)
    asyncio.run(ask(spec, "echo"))
    assert not children()


# Containment


def about(spec: ServerSpec) -> dict[str, Any]:
    return json.loads(in_a_loop(lambda: ask(spec, "about_me")).content)


def test_a_process_gets_a_clean_environment_and_a_place_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "ours")
    spec = own(tmp_path / "new" / "place", env={"TOKEN": "theirs"})
    with (tmp_path / "inherited").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        me = about(spec)
    assert me["env"].keys() <= {"PATH", "HOME", "LANG", "TOKEN", "EFFECTS", "LC_CTYPE", daemons.MARK}
    assert me["env"]["TOKEN"] == "theirs"
    assert me["folder"] == str(tmp_path / "new" / "place")
    assert me["group"] == me["pid"] != os.getpgid(0)
    assert len(me["fds"]) == 4  # and the one that reads the list


def test_a_folder_that_is_made_is_nobody_elses(tmp_path):
    spec = ServerSpec("files", "stdio", command="false", folder=str(tmp_path / "made"))
    in_a_loop(lambda: mcp.check(spec))
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700


def test_a_process_keeps_its_limits(tmp_path):
    limits = ProcessLimits(memory=256 * 1024**2, cpu_seconds=2, processes=3000, open_files=64)
    spec = own(tmp_path, limits=limits)

    async def story():
        me = json.loads((await ask(spec, "about_me")).content)
        assert me["no_new_privileges"]
        response = me["limits"]
        hog = await ask(spec, "hog", bytes=512 * 1024**2)
        burn = await ask(spec, "burn")
        return response, hog, burn

    response, hog, burn = in_a_loop(story)
    assert (response["RLIMIT_NPROC"], response["RLIMIT_NOFILE"], response["RLIMIT_CORE"]) == (3000, 64, 0)
    assert response["RLIMIT_FSIZE"] == 1024**3
    assert (hog.content, hog.is_error) == ("MemoryError", True)
    assert "its process was ended by SIG" in burn.content  # SIGXCPU, or SIGKILL where the hard limit is the same


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_grandchildren_end_with_the_connection(tmp_path):
    spec = own(tmp_path)

    async def story():
        child = psutil.Process(int((await ask(spec, "fork")).content))
        await ask(spec, "crash")
        await until(lambda: is_gone(child))

    in_a_loop(story)


@pytest.mark.parametrize("end", ["crash", "close"])
def test_a_daemon_ends_with_its_server(tmp_path, end):
    spec = own(tmp_path)

    async def story():
        daemon = psutil.Process(int((await ask(spec, "daemon")).content))
        assert os.getsid(daemon.pid) != os.getsid(0)
        if end == "crash":
            await ask(spec, "crash")
        else:
            await mcp.close_servers()
        await until(lambda: is_gone(daemon))

    in_a_loop(story)


KILLED = """
import asyncio, sys
from pathlib import Path
from agents_app.engine import mcp
from tests.harness.fakes.mcp_servers import own

async def main():
    spec = own(Path(sys.argv[1]))
    print((await mcp.call_tool(spec, "about_me", {}, lambda text: None)).content, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_killing_us_kills_our_children(tmp_path):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as us:
        assert us.stdout
        child = psutil.Process(json.loads(us.stdout.readline())["pid"])
        os.kill(child.pid, signal.SIGSTOP)  # so that it does not end by itself, with its input
        us.kill()
    psutil.wait_procs([child], timeout=60)
    assert is_gone(child)


# What is said, and what is not


def test_what_a_server_logs_is_in_our_log_within_bounds(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(stderr_log, "WINDOW", 600)  # all of it falls into one
    caplog.set_level(logging.INFO, "agents_app.mcp")
    spec = own(tmp_path)

    async def story():
        await ask(spec, "chatter", lines=5, width=9000)
        await until(lambda: any("line 4" in text for text in caplog.messages))
        await ask(spec, "chatter", lines=50_000)

    in_a_loop(story)
    ours = [text for text in caplog.messages if text.startswith("own: ")]
    assert ours[0].startswith("own: line 0 www") and max(map(len, ours)) <= 2000 + len("own: ")
    assert len(ours) <= 210
    assert any("lines left out" in text for text in ours)


def test_a_server_that_never_stops_talking_is_served_all_the_same(tmp_path):
    spec = own(tmp_path)

    async def story():
        await ask(spec, "chatter_for_ever")
        began = time.monotonic()
        for _ in range(100):
            assert (await ask(spec, "echo", text="hi")).content == "hi"
        return time.monotonic() - began

    assert in_a_loop(story) < 60


def test_secrets_are_neither_on_the_command_line_nor_in_the_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    spec = own(tmp_path, env={"API_KEY": "sk-very-secret"})

    async def story():
        await ask(spec, "leak", name="API_KEY")
        await until(lambda: any("the key is" in text for text in caplog.messages))
        return children()[0].cmdline()

    assert "sk-very-secret" not in str(in_a_loop(story))
    assert "own: the key is ***, mind" in caplog.messages
    assert "sk-very-secret" not in caplog.text


# Servers behind an address


@pytest.mark.parametrize("transport", ["sse", "streamable_http"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/html", "answered with text/html, not with MCP"),
        ("/401", "answered 401 Unauthorized: it requires other credentials"),
        ("/403", "answered 403 Forbidden: the credentials are not enough"),
        ("/404", "answered 404 Not Found: there is no MCP server at this URL"),
        ("/503", "answered 503 Service Unavailable"),
        ("/elsewhere", "edirect"),
    ],
)
def test_an_address_without_a_server_is_an_error_without_secrets(transport, path, reason, caplog):
    caplog.set_level(logging.DEBUG)
    with odd_http() as web, odd_http() as foreign:
        web.elsewhere = foreign.url("/200?key=secret-of-theirs")
        url = web.url(path).replace("http://", "http://user:secret-password@") + "?key=secret-query"
        headers = (("Authorization", "Bearer secret-token"),)
        report = in_a_loop(lambda: mcp.check(ServerSpec("web", transport, url=url, headers=headers)))
        assert not report.ok
        assert report.message.startswith("The MCP server 'web' is not available: ")
        assert reason in report.message
        assert web.seen[0]["Authorization"]
        assert foreign.seen == []
    assert "secret" not in report.message
    assert "secret" not in "\n".join(text for text in caplog.messages if "agents_app" not in text)


@pytest.mark.parametrize("transport", ["sse", "streamable_http"])
def test_an_address_where_nobody_is_says_so(transport):
    url = f"http://127.0.0.1:{free_port()}/mcp?key=secret"
    report = in_a_loop(lambda: mcp.check(ServerSpec("web", transport, url=url)))
    assert report.message == f"The MCP server 'web' is not available: nothing answers at {url.partition('?')[0]}."


@pytest.mark.parametrize("transport", ["sse", "streamable_http"])
def test_an_address_that_never_answers_is_given_up(transport, monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.5)
    with odd_http() as web:
        report = in_a_loop(lambda: mcp.check(ServerSpec("web", transport, url=web.url("/hang"))))
    assert report.message == "The MCP server 'web' is not available: it did not answer within 0.5 seconds."


@pytest.mark.parametrize("kind", ["sse", "streamableHttp"])
def test_a_server_that_dies_in_a_call_is_connected_again(kind):
    with Everything(kind) as running:
        spec = running.spec()

        async def story():
            await ask(spec, "echo", message="hi")
            shown = asyncio.Event()
            arguments = {"duration": 60, "steps": 600}
            name = "trigger-long-running-operation"
            call = asyncio.create_task(mcp.call_tool(spec, name, arguments, lambda _: shown.set()))
            await shown.wait()
            await asyncio.to_thread(running.kill)
            result = await call
            assert result.is_error and "outcome of this call is unknown" in result.content
            with pytest.raises(ToolsUnavailable, match="nothing answers"):
                await tools(spec)
            await asyncio.to_thread(running.start)
            while True:
                with contextlib.suppress(ToolsUnavailable):
                    return await ask(spec, "echo", message="back")
                await asyncio.sleep(0.05)

        assert in_a_loop(story).content == "Echo: back"


def test_a_call_that_meets_a_forgotten_session_is_made_in_a_new_one():
    with Everything("streamableHttp") as running:
        spec = running.spec()

        async def story():
            await ask(spec, "echo", message="hi")
            await asyncio.to_thread(running.kill)
            await asyncio.to_thread(running.start)
            return await ask(spec, "echo", message="back")

        assert in_a_loop(story).content == "Echo: back"


# Nothing grows. `MANY_CALLS=1` for five times as many: what each leaves behind shows in two hundred calls as well.

ROUNDS, CRASHES = (10, 100) if os.environ.get("MANY_CALLS") else (2, 20)


def test_nothing_is_left_of_many_calls(everything):
    async def story():
        await ask(everything, "echo", message="warm")
        before = ME.num_fds(), len(children()), len(asyncio.all_tasks())
        for _ in range(ROUNDS):
            await asyncio.gather(*(ask(everything, "echo", message="x") for _ in range(100)))
        # Connections of HTTP are kept for a while.
        await until(lambda: (ME.num_fds() <= before[0] + 20, len(children())) == (True, before[1]))
        await until(lambda: len(asyncio.all_tasks()) <= before[2])

    in_a_loop(story)


def test_nothing_is_left_of_many_crashes(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "RESTART_INTERVAL", 0)
    spec = own(tmp_path)

    async def story():
        before = ME.num_fds()
        for _ in range(CRASHES):
            assert "unknown" in (await ask(spec, "crash")).content
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert not children()
        await until(lambda: ME.num_fds() <= before)

    in_a_loop(story)
    assert effects(spec).count("started") == CRASHES


def test_nothing_is_left_of_callers_who_go_at_any_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "RESTART_INTERVAL", 0)
    monkeypatch.setattr(connection, "CANCEL_GRACE", 0.05)
    dice = random.Random(3)
    spec = own(tmp_path)

    async def one() -> None:
        call = asyncio.create_task(ask(spec, "slow", seconds=dice.choice([0.01, 0.1, 5]), steps=2, stubborn=True))
        await asyncio.sleep(dice.random() ** 3 * 0.3)
        if not call.done():
            assert await cancelled(call) < 5

    async def story():
        await ask(spec, "echo")
        before = ME.num_fds(), len(asyncio.all_tasks())
        for _ in range(20):
            await asyncio.gather(*(one() for _ in range(10)))
        assert (await ask(spec, "echo", text="well")).content == "well"
        await until(lambda: ME.num_fds() <= before[0] and len(asyncio.all_tasks()) <= before[1])

    in_a_loop(story)

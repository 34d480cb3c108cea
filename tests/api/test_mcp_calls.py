"""Trying MCP servers, and calling their tools by hand: through a real server, with real processes behind it."""

import contextlib
import http.client
import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.fakes.simple_mcp_server import COMMAND, PIXEL
from tests.harness.guard import wait_for_the_end_of
from tests.harness.product import Product
from tests.harness.wait import until

Begun = contextlib.closing[http.client.HTTPConnection]


class Caller:
    """One MCP server's row, and what can be done with it."""

    def __init__(self, product: Product, name: str, **fields: object) -> None:
        self.product, self.name = product, name
        body = COMMAND | {"name": name, "sandbox": "none"} | fields  # tests hand it files of any folder
        status, answer = product.request("POST", "/v1/mcp-servers", body)
        assert status == 201, answer

    def request(self, method: str, path: str = "", body: object = None, **headers: str) -> tuple[int, dict]:
        return self.product.request(method, f"/v1/mcp-servers/{self.name}{path}", body, **headers)

    def check(self) -> dict:
        status, result = self.request("POST", "/check")
        assert status == 200, result
        return result

    def call(self, tool: str, **arguments: object) -> tuple[int, dict]:
        return self.request("POST", f"/tools/{tool}/call", {"arguments": arguments})

    def begin(self, tool: str, *, accept: str = "application/json", **arguments: object) -> "Begun":
        """Send the call, and leave its answer unread."""
        connection = http.client.HTTPConnection("127.0.0.1", self.product.port, timeout=30)
        body = json.dumps({"arguments": arguments})
        path = f"/v1/mcp-servers/{self.name}/tools/{tool}/call"
        headers = {"Content-Type": "application/json", "Accept": accept, "Connection": "close"}
        connection.request("POST", path, body, headers)
        return contextlib.closing(connection)


def events(response: http.client.HTTPResponse) -> Iterator[tuple[str, dict]]:
    """The events of a stream, as they come."""
    kind = ""
    for line in response:
        name, _, text = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = text
        elif name == "data":
            yield kind, json.loads(text)


def until_exists(file: Path) -> None:
    until(file.exists)


def until_cancelled(folder: Path) -> None:
    """`wait` was told; or, where a busy machine did not let it answer in time, its process was ended."""
    process = Path("/proc") / (folder / "started").read_text()
    until(lambda: (folder / "cancelled").exists() or not process.exists())


@pytest.fixture(scope="module")  # its process imports the SDK, which takes a second
def simple(shared_product: Product) -> Caller:
    return Caller(shared_product, "simple-calls", env={"API_KEY": "sk-very-secret"})


@pytest.mark.both
def test_a_check_says_who_answers_and_is_kept(simple):
    result = simple.check()
    assert result["ok"] is True, result
    assert (result["server_name"], result["server_version"]) == ("simple", "7")
    assert result["instructions"] == "Add numbers."
    assert result["protocol_version"]
    assert set(result["tools"]) == {"add", "environment", "fail", "paint", "wait"}
    _, row = simple.request("GET")
    assert (row["check_ok"], row["check_message"], row["tool_names"]) == (True, result["message"], result["tools"])
    assert row["checked_at"]


def test_tools_are_listed_with_their_schemas(simple):
    status, listed = simple.request("GET", "/tools")
    assert (status, listed["object"], listed["has_more"], listed["next"]) == (200, "list", False, None)
    tools = {tool["tool"]: tool for tool in listed["data"]}
    assert set(tools) == {"add", "environment", "fail", "paint", "wait"}
    assert tools["add"]["name"] == f"{simple.name}__add"
    assert tools["add"]["description"] == "Add two numbers."
    assert tools["add"]["parameters"]["required"] == ["a", "b"]
    assert (tools["add"]["read_only"], tools["fail"]["read_only"], tools["fail"]["idempotent"]) == (True, False, False)


@pytest.mark.both
def test_a_tool_is_called(simple):
    status, answer = simple.call("add", a=2, b=3)
    assert (status, answer["content"], answer["is_error"]) == (200, "5", False)
    assert answer["duration_ms"] >= 0


def test_long_integers_reach_a_tool_as_they_are(simple):
    assert simple.call("add", a=2**70, b=1)[1]["content"] == str(2**70 + 1)


def test_an_environment_reaches_the_server_and_ours_does_not(simple):
    assert simple.call("environment", name="API_KEY")[1]["content"] == "sk-very-secret"
    assert simple.call("environment", name="VAR_DIR")[1]["content"] == "unset"


def test_a_tool_that_fails_is_an_answer(simple):
    status, answer = simple.call("fail")
    assert (status, answer["is_error"]) == (200, True)
    assert "the disk is on fire" in answer["content"]


@pytest.mark.parametrize(
    ("arguments", "word"), [({"a": 2}, "'b'"), ({"a": 2, "b": "three"}, "'b'"), ({"a": 2, "b": None}, "'b'")]
)
def test_arguments_that_do_not_fit_are_a_400_that_names_them(simple, arguments, word):
    status, answer = simple.call("add", **arguments)
    assert (status, answer["error"]["type"], answer["error"]["code"]) == (
        400,
        "invalid_request_error",
        "invalid_arguments",
    )
    assert answer["error"]["param"].startswith("arguments")
    assert word in answer["error"]["message"]


def test_an_unknown_tool_is_a_404(simple):
    status, answer = simple.call("fly")
    assert (status, answer["error"]["code"]) == (404, "tool_not_found")
    assert "'fly'" in answer["error"]["message"]


def test_attachments_come_in_base64_up_to_a_mebibyte(simple):
    answer = simple.call("paint", size=1000)[1]
    [picture] = answer["attachments"]
    assert (picture["kind"], picture["media_type"], picture["size"]) == ("image", "image/png", 1000)
    assert b64decode(picture["data"]) == PIXEL[:8] + bytes(992)
    assert "painted" in answer["content"]
    [picture] = simple.call("paint", size=1024 * 1024 + 1)[1]["attachments"]
    assert (picture["size"], "data" in picture) == (1024 * 1024 + 1, False)


def test_patterns_hide_tools(product, name):
    caller = Caller(product, name, allowed_tools=["a*", "f*"], denied_tools=["fail"])
    assert [tool["tool"] for tool in caller.request("GET", "/tools")[1]["data"]] == ["add"]
    assert caller.call("fail")[0] == 404


def test_names_that_are_too_long_or_look_alike_are_reported(product, name):
    caller = Caller(product, name, env={"ODD_NAMES": "1"})
    message = caller.check()["message"]
    tools = {tool["tool"]: tool["name"] for tool in caller.request("GET", "/tools")[1]["data"]}
    assert tools["a_b"] == f"{name}__a_b" != tools["a.b"]
    assert len(tools["x" * 70]) == 64
    for odd in ("a.b", "x" * 70):
        assert f"'{odd}' is called {tools[odd]}" in message
    assert caller.call("a.b")[1]["content"] == "odd"


def test_a_server_that_is_not_there_is_an_answer_to_a_check_and_a_503_to_a_call(product, name):
    caller = Caller(product, name, command="/no/such/program", env={"API_KEY": "sk-very-secret"})
    result = caller.check()
    assert (result["ok"], result["tools"]) == (False, [])
    assert "/no/such/program" in result["message"]
    for status, answer in (caller.request("GET", "/tools"), caller.call("add", a=2, b=3)):
        assert (status, answer["error"]["type"], answer["error"]["code"]) == (
            503,
            "overloaded_error",
            "server_unavailable",
        )
    assert caller.request("GET")[1]["check_ok"] is False
    assert "sk-very-secret" not in product.logged()


@pytest.mark.both
def test_a_stream_has_the_progress_and_then_the_result(simple, tmp_path):
    with simple.begin("wait", accept="text/event-stream", folder=str(tmp_path)) as connection:
        response = connection.getresponse()
        assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        stream = events(response)
        kind, data = next(stream)
        assert (kind, "waiting" in data["text"]) == ("progress", True)
        (tmp_path / "go").touch()
        details = list(stream)
    assert [kind for kind, _ in details][-1] == "result"
    assert {kind for kind, _ in details[:-1]} <= {"progress"}
    assert (details[-1][1]["content"], details[-1][1]["is_error"]) == ("went", False)


def test_a_stream_that_cannot_begin_is_an_answer_in_json(simple):
    for tool, status in (("fly", 404), ("add", 400)):
        with simple.begin(tool, accept="text/event-stream") as connection, connection.getresponse() as response:
            assert (response.status, response.headers["Content-Type"]) == (status, "application/json")


@pytest.mark.both
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_client_that_goes_away_cancels_the_call(simple, tmp_path, accept):
    with simple.begin("wait", accept=accept, folder=str(tmp_path)):
        until_exists(tmp_path / "started")
    until_cancelled(tmp_path)
    assert simple.call("add", a=2, b=3)[1]["content"] == "5"


@pytest.mark.slow
def test_a_call_ends_after_its_time(product, name, tmp_path):
    caller = Caller(product, name, tool_timeouts={"wait": 5})
    caller.check()
    status, answer = caller.call("wait", folder=str(tmp_path))
    assert (status, answer["is_error"]) == (200, True)
    assert "5 seconds" in answer["content"]
    until_cancelled(tmp_path)


def test_calls_go_on_side_by_side(simple, tmp_path):
    folders = [tmp_path / str(n) for n in range(4)]
    for folder in folders:
        folder.mkdir()
    with contextlib.ExitStack() as stack:
        calls = [stack.enter_context(simple.begin("wait", folder=str(folder))) for folder in folders]
        for folder in folders:
            until_exists(folder / "started")
        for folder in folders:
            (folder / "go").touch()
        assert [json.loads(call.getresponse().read())["content"] for call in calls] == ["went"] * 4


@pytest.mark.slow
def test_no_process_outlives_the_server(own_product, name, tmp_path):
    caller = Caller(own_product, name)
    assert caller.check()["ok"]
    children = [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and "simple_mcp_server" in _command_line(process)
    ]
    ours = [pid for pid in children if str(own_product.var_dir) in str(_folder(pid))]
    assert ours

    def call() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):  # a server that ends may hang up
            caller.call("wait", folder=str(tmp_path))

    threading.Thread(target=call, daemon=True).start()
    until_exists(tmp_path / "started")
    assert own_product.terminate() == 0
    wait_for_the_end_of(ours, timeout=15)
    assert "Traceback" not in own_product.logged()


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _folder(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""

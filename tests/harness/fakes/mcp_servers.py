"""Real MCP servers, those that `scripts/install-test-tools` installs, and our own that misbehaves."""

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agents_app.engine.spec import ServerSpec
from tests.harness.daemon import Daemon, free_port, is_open, program
from tests.harness.fakes.scripted_mcp_server import ORDINARY
from tests.harness.paths import ROOT

FOLDER = ROOT / "var" / "test-tools" / "mcp"
OWN = Path(__file__).with_name("own_mcp_server.py")
SCRIPTED = Path(__file__).with_name("scripted_mcp_server.py")
TIME = FOLDER / "python" / "bin" / "mcp-server-time"


def node_package(name: str) -> str:
    """The file to run of an official server for Node."""
    path = FOLDER / "node" / "node_modules" / "@modelcontextprotocol" / f"server-{name}" / "dist" / "index.js"
    if not path.exists():
        raise RuntimeError(f"There is no {path}: run scripts/install-test-tools, which installs it.")
    return str(path)


def own(folder: Path, *options: str, name: str = "own", env: dict[str, str] | None = None, **more: Any) -> ServerSpec:
    """Our own server, started as a process; `effects.txt` in its folder is what it did."""
    folder.mkdir(parents=True, exist_ok=True)
    return ServerSpec(
        name=name,
        transport="stdio",
        command=sys.executable,
        args=(str(OWN), *options),
        env=tuple(sorted({"EFFECTS": str(folder / "effects.txt"), **(env or {})}.items())),
        folder=str(folder),
        **more,
    )


def scripted_stdio(folder: Path, answers: dict[str, str | bytes]) -> ServerSpec:
    """A process with one tool, `act`, that answers these methods with these bytes: see its own file."""
    for method, answer in answers.items():
        data = answer.encode() if isinstance(answer, str) else answer
        (folder / method.replace("/", ".")).write_bytes(data if data.endswith(b"\n") else data + b"\n")
    return ServerSpec(
        "scripted", "stdio", command=sys.executable, args=(str(SCRIPTED), str(folder)), folder=str(folder)
    )


def everything(folder: Path, **more: Any) -> ServerSpec:
    """The official server that has something of everything, as a process."""
    return ServerSpec(
        name="everything",
        transport="stdio",
        command=program("node"),
        args=(node_package("everything"), "stdio"),
        folder=str(folder),
        **more,
    )


def filesystem(folder: Path, **more: Any) -> ServerSpec:
    """The official server of files, of one folder, as a process."""
    args = (node_package("filesystem"), str(folder))
    return ServerSpec("files", "stdio", command=program("node"), args=args, folder=str(folder), **more)


def clock(folder: Path, **more: Any) -> ServerSpec:
    """The official server that knows the time: Python, and an SDK older than ours."""
    return ServerSpec("clock", "stdio", command=str(TIME), folder=str(folder), **more)


class Everything(Daemon):
    """The official server that has something of everything, behind an address. `kind`: `sse` or `streamableHttp`."""

    name = "everything"

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.port = free_port()

    def command(self) -> list[str]:
        return [program("node"), node_package("everything"), self.kind]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PORT": str(self.port)}

    def is_ready(self) -> bool:
        return is_open(self.port)

    def spec(self, **more: Any) -> ServerSpec:
        path, transport = ("/sse", "sse") if self.kind == "sse" else ("/mcp", "streamable_http")
        return ServerSpec(self.name, transport, url=f"http://127.0.0.1:{self.port}{path}", **more)


class _Odd(BaseHTTPRequestHandler):
    """Answers everything by what the path says: a status, or a word."""

    server: "OddHttp"

    def do_POST(self) -> None:
        self.server.seen.append(dict(self.headers))
        word = self.path.split("?")[0].strip("/")
        if word == "hang":
            self.server.released.wait(30)
        if word == "html":
            self._answer(200, b"<html>Welcome</html>", {"Content-Type": "text/html"})
        elif word == "elsewhere":
            self._answer(307, b"", {"Location": self.server.elsewhere})
        else:
            self._answer(int(word) if word.isdigit() else 500, b"no", {"Content-Type": "text/plain"})

    do_GET = do_DELETE = do_POST

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class OddHttp(ThreadingHTTPServer):
    """A web server that is no MCP server; `seen` are the headers of what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Odd)
        self.seen: list[dict[str, str]] = []
        self.elsewhere = ""
        self.released = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


@contextlib.contextmanager
def odd_http() -> Iterator[OddHttp]:
    """Serve, for a while."""
    with OddHttp() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


Reply = tuple[int, str, str | bytes]  # status, media type, body
Answer = Callable[[dict[str, Any]], "Reply | None"]


class _Scripted(BaseHTTPRequestHandler):
    """Speaks streamable HTTP as it should, but for what the script answers."""

    server: "ScriptedHttp"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.methods.append(message["method"])
        self._reply(*(self.server.answer(message) or self._ordinary(message)))

    def do_GET(self) -> None:
        self._reply(405, "text/plain", "")

    do_DELETE = do_GET

    def _ordinary(self, message: dict[str, Any]) -> Reply:
        session = self.headers.get("Mcp-Session-Id")
        if message["method"] == "initialize":
            self.server.sessions += 1
        elif session != f"session-{self.server.sessions}":
            return 404, "text/plain", "Session not found"
        if "id" not in message:
            return 202, "", ""
        return 200, "application/json", json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": ordinary(message)})

    def _reply(self, status: int, media_type: str, body: str | bytes) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        if media_type:
            self.send_header("Content-Type", media_type)
        self.send_header("Mcp-Session-Id", f"session-{self.server.sessions}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def ordinary(message: dict[str, Any]) -> dict[str, Any]:
    """The result of a request at a server with one tool."""
    return ORDINARY.get(message["method"], {})


class ScriptedHttp(ThreadingHTTPServer):
    """An MCP server over streamable HTTP; `methods` are those of the messages that it got."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Scripted)
        self.answer = answer
        self.methods: list[str] = []
        self.sessions = 0

    def spec(self, **more: Any) -> ServerSpec:
        return ServerSpec("scripted", "streamable_http", url=f"http://127.0.0.1:{self.server_port}/mcp", **more)


@contextlib.contextmanager
def scripted_http(answer: Answer = lambda message: None) -> Iterator[ScriptedHttp]:
    """Serve for a while. `answer` returns a reply, or None for the ordinary one."""
    with ScriptedHttp(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

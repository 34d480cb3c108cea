"""An MCP server over stdio that misbehaves on request: JSON-RPC by hand, so that no SDK keeps it from anything.

    python own_mcp_server.py [--exit STATUS] [--silent] [--pages] [--modern]

What it does beside answering, and what it is told, it writes to the file that its environment names as EFFECTS.
"""

import argparse
import base64
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

LONG = "a_name_that_goes_on_and_on_" * 4
OBJECT = {"type": "object", "properties": {}}
PAGE = 4  # tools a page

_speaking = threading.Lock()
_cancelled: set[object] = set()
_extra: list[str] = []
_descriptions: dict[str, str] = {}


def say(message: dict) -> None:
    with _speaking:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def note(text: str) -> None:
    """Append a line to the file of effects."""
    if "EFFECTS" in os.environ:
        with Path(os.environ["EFFECTS"]).open("a") as file:
            file.write(text + "\n")


def text(words: str, **more: object) -> dict:
    return {"content": [{"type": "text", "text": words}], **more}


class Cancelled(Exception):
    """The call was cancelled, and its tool minds."""


# The tools: each gets its arguments, the id of its call and its progress token.


def echo(arguments: dict, *_: object) -> dict:
    return text(arguments.get("text", ""))


def slow(arguments: dict, call: object, token: object) -> dict:
    """Take some seconds, or `until` a file is there; say how far it is, leave a mark; who is `stubborn` goes on."""
    steps = arguments.get("steps", 10)
    note(f"began {arguments.get('mark', '')}")
    for step in range(steps):
        if token is not None:
            params = {"progressToken": token, "progress": step + 1, "total": steps, "message": f"step {step + 1}"}
            say({"method": "notifications/progress", "params": params})
        time.sleep(arguments["seconds"] / steps)
        if call in _cancelled and not arguments.get("stubborn"):
            raise Cancelled
        if "until" in arguments and Path(arguments["until"]).exists():
            break
    note(f"done {arguments.get('mark', '')}")
    return text("done")


def crash(arguments: dict, *_: object) -> dict:
    note("crashing")
    os._exit(arguments.get("status", 3))


def hang_up(*_: object) -> dict:
    """Close what it speaks through, and live on."""
    os.close(1)
    time.sleep(600)
    return {}


def huge(arguments: dict, *_: object) -> dict:
    return text("x" * arguments["size"])


# A picture of one dot.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def image(arguments: dict, *_: object) -> dict:
    data = arguments.get("data") or base64.b64encode(PNG + bytes(arguments["size"] - len(PNG))).decode()
    return {"content": [{"type": "image", "data": data, "mimeType": "image/png"}]}


def mixed(*_: object) -> dict:
    """One part of each kind, and some that are of none."""
    return {
        "content": [
            {"type": "text", "text": "first\u0000 \ud800"},
            {"type": "audio", "data": base64.b64encode(b"sound").decode(), "mimeType": "audio/wav"},
            {"type": "resource", "resource": {"uri": "file:///a", "mimeType": "text/plain", "text": "inside"}},
            {"type": "resource", "resource": {"uri": "file:///b", "blob": base64.b64encode(b"bytes").decode()}},
            {"type": "resource_link", "uri": "file:///c", "name": "see"},
            {"type": "image", "data": "###", "mimeType": "image/png"},
            {"type": "hologram", "beam": 1},
            "no part at all",
        ],
        "structuredContent": {"n": 1},
    }


def structured(*_: object) -> dict:
    return {"content": [], "structuredContent": {"ü": [1, None]}}


def wrong(*_: object) -> dict:
    return text("that did not work", isError=True)


def garbage(*_: object) -> dict:
    """Say what is no message, between what is."""
    with _speaking:
        sys.stdout.write('Hello!\n\n{"jsonrpc": "2.0"\n[]\n\x00\xff\n{"id": 99999, "jsonrpc": "2.0", "result": {}}\n')
        sys.stdout.flush()
    return text("after the garbage")


def chatter(arguments: dict, *_: object) -> dict:
    for number in range(arguments["lines"]):
        sys.stderr.write(f"line {number} {'w' * arguments.get('width', 0)}\n")
    sys.stderr.flush()
    return text("written")


def chatter_for_ever(*_: object) -> dict:
    def write() -> None:
        while True:
            os.write(2, b"all work and no play\n" * 100)

    threading.Thread(target=write, daemon=True).start()
    return text("writing")


def leak(arguments: dict, *_: object) -> dict:
    """Log what should stay secret."""
    sys.stderr.write(f"the key is {os.environ[arguments['name']]}, mind\n")
    sys.stderr.flush()
    return text("told")


def grow(*_: object) -> dict:
    _extra.append(f"grown_{len(_extra) + 1}")
    say({"method": "notifications/tools/list_changed"})
    return text("grown")


def rewrite(arguments: dict, *_: object) -> dict:
    """Change what another tool says of itself."""
    _descriptions[arguments["tool"]] = arguments["description"]
    say({"method": "notifications/tools/list_changed"})
    return text("rewritten")


def fork(*_: object) -> dict:
    """Leave a grandchild that no polite word ends, and that holds our pipes."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
    return text(str(child))


def daemon(*_: object) -> dict:
    """Leave a daemon: in a session of its own, and nobody's child."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.closerange(0, 3)
            while True:
                time.sleep(60)
        os.write(writer, str(pid).encode())
        os._exit(0)
    return text(os.read(reader, 20).decode())


def hog(arguments: dict, *_: object) -> dict:
    try:
        kept = bytearray(arguments["bytes"])
    except MemoryError:
        return text("MemoryError", isError=True)
    return text(f"have {len(kept)}")


def burn(*_: object) -> dict:
    """Use CPU for ever."""
    while True:
        pass


def about_me(*_: object) -> dict:
    limits = {name: resource.getrlimit(getattr(resource, name))[0] for name in dir(resource) if "RLIMIT_" in name}
    me = {
        "pid": os.getpid(),
        "group": os.getpgid(0),
        "folder": str(Path.cwd()),
        "env": dict(os.environ),
        "fds": sorted(int(fd.name) for fd in Path("/proc/self/fd").iterdir()),
        "limits": limits,
        "no_new_privileges": "NoNewPrivs:\t1" in Path("/proc/self/status").read_text(),
    }
    return text(json.dumps(me))


_notes: list[str] = []
_users: list[str] = []  # of the calls


def remember(arguments: dict, *_: object) -> dict:
    """Return the notes of all calls to this process so far, and whose call this is."""
    _notes.append(arguments["note"])
    return text(json.dumps({"notes": _notes, "user": _users[-1]}))


def refuse(*_: object) -> dict:
    raise RuntimeError("Not today.")


def refuse_nobody(arguments: dict, *_: object) -> dict:
    """Send an error that names no request, and answer after it."""
    say({"id": None, "error": {"code": -32700, "message": "Parse error"}})
    time.sleep(arguments["wait"])
    return text("refused nobody")


TOOLS: dict[str, Callable[..., dict]] = {
    tool.__name__: tool
    for tool in (
        echo, slow, crash, hang_up, huge, image, mixed, structured, wrong, garbage, chatter, chatter_for_ever, leak,
        grow, rewrite, fork, daemon, hog, burn, about_me, remember, refuse, refuse_nobody,
    )
}  # fmt: skip
TOOLS["slow_once"] = slow  # without the hint that it may be called again
ODD = {
    "odd.name": {"type": "object"},
    "odd name": {"type": "object"},
    "odd_name": {"type": "object"},
    LONG + "1": {"type": "object"},
    LONG + "2": {"type": "object"},
    "schema_of_an_array": {"type": "array"},
    "schema_of_nothing": None,
    "schema_without_type": {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
}


def listed() -> list:
    tools: list = [
        {
            "name": name,
            "description": _descriptions.get(name, (tool.__doc__ or name).strip()),
            "inputSchema": OBJECT,
            "annotations": {"readOnlyHint": name == "echo", "idempotentHint": name == "slow"},
        }
        for name, tool in TOOLS.items()
    ]
    tools += [{"name": name, "inputSchema": schema} for name, schema in ODD.items()]
    tools += [{"name": name, "inputSchema": OBJECT} for name in _extra]
    return [*tools, {"name": 7}, {"description": "has no name"}, "no tool at all"]


def page(options: argparse.Namespace, cursor: str | None) -> dict:
    tools, begin = listed(), int(cursor or 0)
    if not options.pages:
        return {"tools": tools}
    following = {"nextCursor": str(begin + PAGE)} if begin + PAGE < len(tools) else {}
    return {"tools": tools[begin : begin + PAGE], **following}


def call(message: dict) -> None:
    params = message["params"]
    tool = TOOLS.get(params["name"], echo)
    try:
        token = params.get("_meta", {}).get("progressToken")
        _users.append(params.get("_meta", {}).get("aintandem/user", ""))
        say({"id": message["id"], "result": tool(params.get("arguments") or {}, message["id"], token)})
    except Cancelled:
        say({"id": message["id"], "error": {"code": 0, "message": "Request cancelled"}})
    except RuntimeError as error:
        say({"id": message["id"], "error": {"code": -32000, "message": str(error)}})


def answer(options: argparse.Namespace, message: dict) -> None:
    method, params = message.get("method"), message.get("params") or {}
    if method == "notifications/cancelled":
        _cancelled.add(params["requestId"])
        note("cancelled")
    elif "id" not in message:
        note(f"notified {method}")
    elif method == "initialize" and not options.modern:
        note("started")
        server = {"name": "own", "version": "1.0"}
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {"listChanged": True}}}
        say({"id": message["id"], "result": {**result, "serverInfo": server, "instructions": "Be kind."}})
    elif method == "server/discover" and options.modern:
        result = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}
        say({"id": message["id"], "result": {**result, "ttlMs": 0, "cacheScope": "private"}})
    elif method == "tools/list" and options.modern:
        tools = [{"name": "echo", "inputSchema": OBJECT}]
        more = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        say({"id": message["id"], "result": {"tools": tools, **more}})
    elif method == "tools/list":
        say({"id": message["id"], "result": page(options, params.get("cursor"))})
    elif method == "tools/call" and options.modern:
        result = {**text(params["arguments"]["text"]), "resultType": "complete"}
        say({"id": message["id"], "result": result})
    elif method == "tools/call":
        threading.Thread(target=call, args=(message,), daemon=True).start()
    elif method == "ping":
        say({"id": message["id"], "result": {}})
    else:
        say({"id": message["id"], "error": {"code": -32601, "message": "Method not found"}})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--exit", type=int)
    parser.add_argument("--silent", action="store_true", help="never answer")
    parser.add_argument("--pages", action="store_true", help="list tools in pages")
    parser.add_argument("--modern", action="store_true", help="know only the protocol without a handshake")
    options = parser.parse_args()
    if options.exit is not None:
        print("I had rather not", file=sys.stderr)
        sys.exit(options.exit)
    for line in sys.stdin:
        if not options.silent:
            answer(options, json.loads(line))


if __name__ == "__main__":
    main()

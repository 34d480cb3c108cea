"""An MCP server over stdio whose answers are bytes of the test: `scripted_mcp_server.py FOLDER`.

A file in the folder that is named as the method, with `.` for `/`, is what it answers; ID in it is the request's id.
The n-th request of a method gets METHOD.N if there is such a file.
"""

import json
import sys
from collections import Counter
from pathlib import Path

ORDINARY = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "scripted", "version": "1"},
    },
    "tools/list": {"tools": [{"name": "act", "inputSchema": {"type": "object"}}]},
    "tools/call": {"content": [{"type": "text", "text": "done"}]},
}


def main() -> None:
    folder = Path(sys.argv[1])
    counts: Counter[str] = Counter()
    with (folder / "requests.jsonl").open("a") as requests:
        for line in sys.stdin:
            message = json.loads(line)
            requests.write(line)
            requests.flush()
            if "id" not in message or "method" not in message:  # a notification, or an answer to the server
                continue
            name = message["method"].replace("/", ".")
            counts[name] += 1
            files = [path for path in (folder / f"{name}.{counts[name]}", folder / name) if path.exists()]
            if files:
                answer = files[0].read_bytes().replace(b"ID", str(message["id"]).encode())
            else:
                result = ORDINARY.get(message["method"], {})
                answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode() + b"\n"
            sys.stdout.buffer.write(answer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

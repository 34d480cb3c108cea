"""A small MCP server over stdio, on the official SDK: `python -m tests.harness.fakes.simple_mcp_server`."""

import os
import sys
from pathlib import Path

import anyio
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

COMMAND = {"transport": "stdio", "command": sys.executable, "args": [str(Path(__file__).resolve())]}
PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(100)

server = MCPServer("simple", version="7", instructions="Add numbers.")


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
def environment(name: str) -> str:
    """The value of an environment variable."""
    return os.environ.get(name, "unset")


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("the disk is on fire")


@server.tool()
def paint(size: int) -> list[Image | str]:
    """A picture of so many bytes, and a word."""
    return ["painted", Image(data=PIXEL[:8] + bytes(size - 8), format="png")]


@server.tool()
async def wait(folder: str, ctx: Context) -> str:
    """Say that it waits, then wait until a file `go` is there, or it is cancelled."""
    started = Path(folder) / "started.new"
    started.write_text(str(os.getpid()))
    started.rename(Path(folder) / "started")
    try:
        for step in range(10_000):
            await ctx.report_progress(step, 10_000, "waiting")
            if (Path(folder) / "go").exists():
                return "went"
            await anyio.sleep(0.05)
    except anyio.get_cancelled_exc_class():
        (Path(folder) / "cancelled").touch()
        raise
    return "tired"


if os.environ.get("ODD_NAMES"):
    for odd in ("a.b", "a_b", "x" * 70):
        server.add_tool(lambda: "odd", name=odd)


if __name__ == "__main__":
    server.run()

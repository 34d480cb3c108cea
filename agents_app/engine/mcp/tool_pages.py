"""Read a server's list of tools, page by page, to an end that the server may not have."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
from mcp import MCPError

from agents_app.engine.spec import JSON

MAX_TOOLS = 1000
_MAX_PAGES = 100
_MAX_SECONDS = 10.0  # for the pages after the first

RequestPage = Callable[[JSON], Awaitable[JSON]]


async def read(request: RequestPage) -> tuple[list[JSON], str]:
    """Return the tools as the server describes them, and why some may be missing, as the end of a sentence.

    `request` requests a page with these parameters.

    Raises:
        MCPError: the server does not send the first page.
    """
    try:
        page = await request({})
    except MCPError as error:
        if error.code == types.METHOD_NOT_FOUND:
            return [], ""  # a server of prompts and resources
        raise
    listed = _tools(page)
    cursors: set[str | int | float] = set()
    until = time.monotonic() + _MAX_SECONDS
    while (cursor := _cursor(page)) is not None and cursor not in cursors:
        if len(listed) > MAX_TOOLS or len(cursors) > _MAX_PAGES:
            break
        cursors.add(cursor)
        try:
            async with asyncio.timeout(until - time.monotonic()):
                page = await _next(request, cursor)
        except TimeoutError:
            return listed, f"it takes longer than {_MAX_SECONDS:g} seconds"
        except MCPError as error:
            return listed, f"the server sent an error instead of a page: {error.message[:200].rstrip('.')}"
        listed += _tools(page)
    else:
        return listed[:MAX_TOOLS], "" if len(listed) <= MAX_TOOLS else f"it has more than {MAX_TOOLS} tools"
    return listed[:MAX_TOOLS], f"it has more than {MAX_TOOLS} tools or {_MAX_PAGES} pages"


async def _next(request: RequestPage, cursor: str | int | float) -> JSON:
    """Return the page of a cursor, which goes back as it came. Strict servers that send numbers want them as text."""
    try:
        return await request({"cursor": cursor})
    except MCPError as error:
        if isinstance(cursor, str) or error.code != types.INVALID_PARAMS:
            raise
        return await request({"cursor": str(cursor)})


def _tools(page: JSON) -> list[JSON]:
    tools: Any = page.get("tools")
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []


def _cursor(page: JSON) -> str | int | float | None:
    """Return the cursor of the next page; None if this is the last one."""
    cursor = page.get("nextCursor")
    is_cursor = isinstance(cursor, str | int | float) and not isinstance(cursor, bool) and cursor != ""
    return cursor if is_cursor else None

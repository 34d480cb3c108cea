"""`read_result` reads a result of a tool again, which the model no longer has: see `engine/compaction.py`."""

import itertools
from typing import Any

from django.db.models import Q
from django.db.models.functions import Length, Substr

from agents_app.database.threads import DatabaseThreads
from agents_app.engine.compaction import READ_RESULT
from agents_app.engine.toolset import Call, Tool, ToolError
from agents_app.models import Run, Step
from agents_app.runs import paths

_FEW_CHARACTERS, _MOST_CHARACTERS = 10_000, 50_000  # of a result that one call reads
_MOST_SESSIONS = 20  # in a line of forks
_LARGEST_OFFSET = 2**31 - 1
_database = DatabaseThreads("result-tools", 1)


def make_tool(run: Run, context_tokens: int) -> Tool:
    """Return the tool for one run, which reads the results of its session alone: a part of the window at a time."""
    most = min(_MOST_CHARACTERS, context_tokens)
    few = min(_FEW_CHARACTERS, most)

    async def read(arguments: dict[str, Any], _call: Call) -> str:
        call_id, offset = arguments["tool_call_id"], arguments.get("offset", 0)
        limit = min(arguments.get("limit", few), most)
        part, length, count = await _database.run(_find, run, call_id, offset, limit)
        if not part:
            return f"[There is nothing at offset {offset:,}: the result has {length:,} characters.]"
        end = offset + len(part)
        notes = [f"[more at offset {end}]" if end < length else "[end of the result]"]
        if count > 1:
            notes.append(f"[{count} results have this tool_call_id; this is the newest]")
        return "\n".join([part, *notes])

    return Tool(
        name=READ_RESULT,
        description="Read a result of an earlier tool call of this conversation again, part by part.",
        parameters={
            "type": "object",
            "properties": {
                "tool_call_id": {"type": "string", "description": "Id of the call."},
                "offset": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": _LARGEST_OFFSET,
                    "description": "Characters to skip. Default: 0.",
                },
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": _MOST_CHARACTERS,
                    "description": f"Characters to read. Default: {few}.",
                },
            },
            "required": ["tool_call_id"],
        },
        call=read,
        read_only=True,
    )


def _before(run: Run) -> Q:
    """Return the condition on steps of the run's session, and of what it was forked from up to the fork."""
    condition, most = Q(), run.number
    for session in itertools.islice(paths.lineage(run.session), _MOST_SESSIONS):
        condition |= Q(run__session=session.pk, run__number__lte=most)
        most = min(most, session.parent_count)
    return condition


def _find(run: Run, call_id: str, offset: int, limit: int) -> tuple[str, int, int]:
    """Return a part of the newest result of that call, its length, and how many results have that id.

    Raises:
        ToolError: there is none.
    """
    finished = Step.objects.filter(kind=Step.Kind.TOOL_RESULT, status=Step.Status.FINISHED)
    rows = finished.filter(_before(run), tool_call_id=call_id.replace("\x00", ""))
    part = Substr("content", offset + 1, limit)
    values = rows.order_by("-run__number", "-index").values_list(part, Length("content"))
    newest = values.first() if call_id else None
    if newest is None:
        raise ToolError(f"This conversation has no result of a call {call_id[:128]!r}.")
    return newest[0], newest[1], rows.count()

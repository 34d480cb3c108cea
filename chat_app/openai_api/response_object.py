"""A segment of a run as a response object: its parameters, its status, and its steps as output items."""

import re
import uuid
from collections.abc import Iterable
from typing import Any

from agents_app.exceptions import NotFound
from agents_app.models import Approval, Run, Step
from chat_app.openai_api import compaction
from chat_app.openai_api.listening import incomplete_reason
from chat_app.openai_api.segments import NO_CONTENT, ClientCall, Segment, SegmentContent

_ID = re.compile(r"resp_([0-9a-f]{32})(?:_(\d{1,9}))?", re.ASCII)
_STATUS = {
    Run.Status.QUEUED: "queued",
    Run.Status.RUNNING: "in_progress",
    Run.Status.WAITING: "in_progress",
    Run.Status.COMPLETED: "completed",
    Run.Status.FAILED: "failed",
    Run.Status.CANCELLED: "cancelled",
}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_BUILTIN = "builtin"


def response_id(segment: Segment) -> str:
    return f"resp_{segment.run.pk.hex}" + (f"_{segment.after}" if segment.after else "")


def segment_of(user: Any, identifier: str) -> Segment:
    """Return the segment of a run that is this response.

    Raises:
        NotFound: not there, or not the user's.
    """
    match = _ID.fullmatch(identifier)
    visible = Run.objects.visible_to(user).select_related("session")
    run = visible.filter(pk=uuid.UUID(match[1])).first() if match else None
    segment = run and match and _segment(run, int(match[2] or 0))
    if not segment:
        raise NotFound(f"There is no response {identifier[:100]!r}.")
    return segment


def _segment(run: Run, after: int) -> Segment | None:
    """Return the segment after the model turn, if the run has gone on with results of its calls."""
    if not after:
        return Segment(run)
    steps = run.steps.filter(iteration=after).values("index")
    calls = run.approvals.filter(kind=Approval.Kind.CLIENT_TOOL, step__in=steps).values_list("answered_seq", flat=True)
    numbers = [seq for seq in calls if seq]
    return Segment(run, after, max(numbers)) if numbers and len(numbers) == len(calls) else None


def response(segment: Segment, content: SegmentContent = NO_CONTENT, *, user: Any, status: str = "") -> dict[str, Any]:
    """Return the response object as `user` gets it. `status` overrides that of the segment."""
    run = segment.run
    options, parameters = _options(segment), run.overrides.parameters
    has_ended = run.is_finished and not content.calls
    reason = incomplete_reason(run) if has_ended else None
    failed = has_ended and run.status == Run.Status.FAILED and not reason
    if content.calls:
        status = status or "completed"
    return {
        "id": response_id(segment),
        "object": "response",
        "created_at": int(run.created_at.timestamp()),
        "completed_at": _completed_at(run, content),
        "status": status or ("incomplete" if reason else _STATUS[Run.Status(run.status)]),
        "background": options.get("background", False),
        "error": _error(run) if failed else None,
        "incomplete_details": {"reason": _INCOMPLETE[reason]} if reason else None,
        "instructions": run.overrides.instructions or None,
        "max_output_tokens": parameters.get("max_tokens"),
        "metadata": options.get("metadata", {}),
        "model": run.agent_name,
        "output": list(_items(run, content)),
        "parallel_tool_calls": parameters.get("parallel_tool_calls", True),
        "reasoning": {"effort": parameters.get("reasoning_effort"), "summary": None},
        "previous_response_id": options.get("previous_response_id"),
        "conversation": {"id": run.session.address_for(user)},
        "store": options.get("store", True),
        "temperature": parameters.get("temperature"),
        "text": {"format": _format(parameters.get("response_format"))},
        "tool_choice": _choice(parameters.get("tool_choice")),
        "tools": [{"type": "function", "strict": None} | tool for tool in run.overrides.client_tools],
        "top_p": parameters.get("top_p"),
        "truncation": "disabled",
        "usage": _usage(content.usage) if content.usage and (run.is_finished or content.calls) else None,
    }


def _completed_at(run: Run, content: SegmentContent) -> int | None:
    """Return when the segment ended: with the run, or when its calls were complete."""
    moment = max(step.started_at for step in content.steps) if content.calls else run.finished_at
    return int(moment.timestamp()) if moment else None


def _options(segment: Segment) -> dict[str, Any]:
    """Return what the segment's request said beside the options of the run."""
    options = segment.run.overrides.response
    return options.get("continued", {}).get(str(segment.after), {}) if segment.after else options


def _choice(choice: dict[str, Any] | None) -> Any:
    if choice is None:
        return "auto"
    return {"type": "function", "name": choice["name"]} if choice["name"] else "required"


def _format(answer: dict[str, Any] | None) -> dict[str, Any]:
    """Return the format of the text as this API writes it."""
    return {"type": answer["type"], **answer.get("json_schema", {})} if answer else {"type": "text"}


def _error(run: Run) -> dict[str, Any]:
    code = "rate_limit_exceeded" if run.error_code == "model_rate_limited" else "server_error"
    return {"code": code, "message": run.error}


def _usage(usage: dict[str, int]) -> dict[str, Any]:
    input_tokens, output_tokens = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": usage.get("cached_tokens", 0)},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.get("reasoning_tokens", 0)},
        "total_tokens": input_tokens + output_tokens,
    }


def _items(run: Run, content: SegmentContent) -> Iterable[dict[str, Any]]:
    steps, of_client = content.steps, {each.step: each for each in content.calls}
    results = {(s.iteration, s.tool_call_id): s for s in steps if s.kind == Step.Kind.TOOL_RESULT and s.finished_at}
    has_answer = False
    compactions = compaction.summaries(steps) if run.overrides.compaction else []
    for step in steps:
        if step.kind == Step.Kind.THOUGHT:
            yield reasoning(item_id("rs", run, step.index), step.content)
        elif step in compactions:
            yield compaction.item(run, compactions.index(step), step.content)
        elif step.kind == Step.Kind.FINAL_ANSWER:
            has_answer = True
            yield message(item_id("msg", run, step.index), step.content)
        elif step.index in of_client:
            yield function_call(run, of_client[step.index])
        elif step.kind == Step.Kind.TOOL_USE:
            result = results.get((step.iteration, step.tool_call_id))
            outcome = (result.content, result.is_error) if result else None
            yield call(item_id("mcp", run, step.index), step.tool_name, step.content, outcome)
    if run.result and not has_answer and run.is_finished and not of_client:
        yield message(item_id("msg", run, len(steps)), run.result, status="incomplete")


def item_id(prefix: str, run: Run, step: int) -> str:
    return f"{prefix}_{run.pk.hex}_{step}"


def reasoning(identifier: str, text: str | None, *, status: str = "completed") -> dict[str, Any]:
    """Return a thought. Without text, it has just begun."""
    content = [] if text is None else [{"type": "reasoning_text", "text": text}]
    return {"id": identifier, "type": "reasoning", "summary": [], "content": content, "status": status}


def message(
    identifier: str, text: str | None, *, status: str = "completed", phase: str | None = "final_answer"
) -> dict[str, Any]:
    """Return an answer, or text before a tool call (phase `commentary`). Without text, it has just begun."""
    content = [] if text is None else [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    item = {"id": identifier, "type": "message", "role": "assistant", "content": content, "status": status}
    return item | ({"phase": phase} if phase else {})


def function_call(run: Run, made: ClientCall, *, status: str = "completed") -> dict[str, Any]:
    """Return a call that the client has to make. One in progress has no arguments yet."""
    return {
        "id": item_id("fc", run, made.step),
        "type": "function_call",
        "call_id": made.id,
        "name": made.name,
        "arguments": made.arguments if status == "completed" else "",
        "status": status,
    }


def call(identifier: str, tool: str, arguments: str, outcome: tuple[str, bool] | None) -> dict[str, Any]:
    """Return a tool call. It is an MCP call because the server makes it: clients have nothing to do."""
    server, _, name = tool.rpartition("__")
    item: dict[str, Any] = {
        "id": identifier,
        "type": "mcp_call",
        "server_label": server or _BUILTIN,
        "name": name,
        "arguments": arguments,
        "approval_request_id": None,
        "output": None,
        "error": None,
        "status": "in_progress",
    }
    if outcome is None:
        return item
    text, is_error = outcome
    if is_error:
        error = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": text}]}
        return item | {"error": error, "status": "failed"}
    return item | {"output": text, "status": "completed"}

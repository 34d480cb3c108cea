"""A run as a response object: its parameters, its status, and its steps as output items."""

import re
import uuid
from collections.abc import Iterable
from typing import Any

from agents_app.exceptions import NotFound
from agents_app.models import Run, Step
from chat_app.openai_api.listening import incomplete_reason

_ID = re.compile(r"resp_([0-9a-f]{32})")
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


def response_id(run: Run) -> str:
    return f"resp_{run.pk.hex}"


def run_of(user: Any, identifier: str) -> Run:
    """Return the run of this response.

    Raises:
        NotFound: not there, or not the user's.
    """
    match = _ID.fullmatch(identifier)
    visible = Run.objects.visible_to(user).select_related("session")
    run = visible.filter(pk=uuid.UUID(match[1])).first() if match else None
    if run is None:
        raise NotFound(f"There is no response {identifier[:100]!r}.")
    return run


def response(run: Run, steps: Iterable[Step] = (), *, user: Any, status: str = "") -> dict[str, Any]:
    """Return the response object as `user` gets it. `status` overrides the status of the row."""
    options, parameters = run.overrides.response, run.overrides.parameters
    reason = incomplete_reason(run) if run.is_finished else None
    failed = run.status == Run.Status.FAILED and not reason
    return {
        "id": response_id(run),
        "object": "response",
        "created_at": int(run.created_at.timestamp()),
        "completed_at": int(run.finished_at.timestamp()) if run.finished_at else None,
        "status": status or ("incomplete" if reason else _STATUS[Run.Status(run.status)]),
        "background": options.get("background", False),
        "error": _error(run) if failed else None,
        "incomplete_details": {"reason": _INCOMPLETE[reason]} if reason else None,
        "instructions": run.overrides.instructions or None,
        "max_output_tokens": parameters.get("max_tokens"),
        "metadata": options.get("metadata", {}),
        "model": run.agent_name,
        "output": list(_items(run, list(steps))),
        "parallel_tool_calls": True,
        "reasoning": {"effort": parameters.get("reasoning_effort"), "summary": None},
        "previous_response_id": options.get("previous_response_id"),
        "conversation": {"id": run.session.address_for(user)},
        "store": options.get("store", True),
        "temperature": parameters.get("temperature"),
        "text": {"format": _format(parameters.get("response_format"))},
        "tool_choice": "auto",
        "tools": [],
        "top_p": parameters.get("top_p"),
        "truncation": "disabled",
        "usage": _usage(run.usage) if run.is_finished else None,
    }


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


def _items(run: Run, steps: list[Step]) -> Iterable[dict[str, Any]]:
    results = {(s.iteration, s.tool_call_id): s for s in steps if s.kind == Step.Kind.TOOL_RESULT and s.finished_at}
    has_answer = False
    for step in steps:
        if step.kind == Step.Kind.THOUGHT:
            yield reasoning(item_id("rs", run, step.index), step.content)
        elif step.kind == Step.Kind.FINAL_ANSWER:
            has_answer = True
            yield message(item_id("msg", run, step.index), step.content)
        elif step.kind == Step.Kind.TOOL_USE:
            result = results.get((step.iteration, step.tool_call_id))
            outcome = (result.content, result.is_error) if result else None
            yield call(item_id("mcp", run, step.index), step.tool_name, step.content, outcome)
    if run.result and not has_answer and run.is_finished:
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

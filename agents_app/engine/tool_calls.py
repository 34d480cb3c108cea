"""The calls of tools that a model's turn made: limits, approval, calling, results."""

import asyncio
import dataclasses
import json
import logging
import time
from collections.abc import AsyncIterator

from agents_app.engine import client_tools, instrumentation, questions
from agents_app.engine.arguments import arguments_problem, parse_arguments
from agents_app.engine.events import (
    TOOL_RESULT,
    UNKNOWN_END,
    AwaitingApproval,
    Delta,
    Event,
    RunWarning,
    StepDone,
    ToolsStarting,
)
from agents_app.engine.spec import (
    AgentSpec,
    Conversation,
    Decision,
    Message,
    ToolCall,
    replay_call,
    replay_turn,
    result_parts,
)
from agents_app.engine.toolset import CLIENT_TOOL, Call, ToolError, ToolResult, Toolset, acheck_arguments
from agents_app.foreign_text import clean

logger = logging.getLogger(__name__)

TOOL_TIMEOUT = 60.0
MOST_CALLS_PER_TURN = 32  # of tools; the rest get an error as their result
MOST_CALLS_AT_A_TIME = 6  # of one turn: what they call has other users too
CANCEL_TIMEOUT = 1.0  # seconds that a cancelled tool has to clean up; one that does not stop is abandoned
CHANGED_TOOL = (
    "The call was not made: the description or the parameters of the tool changed after the call was sent for "
    "approval. If it still makes sense, call the tool again."
)
EDITED_CALL = "[The person who approved this call changed its arguments to {}. This is the result of that call:]"
UNKNOWN_OUTCOME = (
    "The outcome of this call is unknown: the server stopped while it was running, so it may or may not have "
    "taken effect. It was not repeated. Check before you call it again."
)
TOO_MANY_CALLS = "This call was not made: at most {} {} made in one turn. Make it again."
CUT_CALL = {
    "length": (
        "This call was not made: your answer reached its limit of tokens before the call was complete. Make it again, "
        "with less text before it or shorter arguments."
    ),
    "content_filter": "This call was not made: a content filter ended your answer before the call was complete.",
    UNKNOWN_END: "This call was not made: your answer ended before the call was complete. Make it again.",
}
CUT_CALLS = "Calls of tools were not made: the model's answer was cut off before they were complete."


class ToolCalls:
    """The calls of one run's tools."""

    def __init__(self, spec: AgentSpec, conversation: Conversation, tools: Toolset) -> None:
        self.spec = spec
        self.conversation = conversation
        self.tools = tools

    async def make(self, uses: list[StepDone]) -> AsyncIterator[Event]:
        """Make the calls of a turn, but for those that must be approved first: `AwaitingApproval` is their event."""
        conversation = self.conversation
        calls: list[tuple[StepDone, StepDone]] = []
        waiting: list[StepDone] = []
        not_made: list[tuple[StepDone, str]] = []
        most = MOST_CALLS_PER_TURN if self.spec.parameters.parallel_tool_calls else 1
        for number, use in enumerate(uses, start=1):
            row = _ledger_row(conversation.next_index, use)
            conversation.next_index += 1
            if cut := use.provider_data.get("cut"):
                not_made.append((row, CUT_CALL[cut]))
            elif number > most:
                not_made.append((row, TOO_MANY_CALLS.format(most, "call is" if most == 1 else "calls are")))
            elif await self._must_be_approved(use):
                row.tool_digest = self.tools.digest_of(use.tool_name)
                tool = self.tools.get(use.tool_name)
                row.parameters, row.action = tool.parameters, tool.action
                waiting.append(row)
            else:
                calls.append((use, row))
        conversation.turns.append(replay_turn(uses[0].provider_data, map(_replay, uses)))
        yield ToolsStarting(uses, [row for _, row in calls] + [row for row, _ in not_made], waiting)
        if any(use.provider_data.get("cut") for use in uses):
            yield RunWarning(CUT_CALLS, "calls_cut_off")
        for row, reason in not_made:
            yield self._result(row, ToolResult(reason, is_error=True))
        async for event in self._call_all(calls):
            yield event
        if waiting:
            yield AwaitingApproval(waiting)

    async def _must_be_approved(self, use: StepDone) -> bool:
        """Whether somebody must approve or answer the call first. A call with invalid arguments only fails."""
        name = use.tool_name
        if use.arguments is None:
            return False
        try:
            tool = self.tools.get(name)
            if not tool.action and (not self.tools.needs_approval(name) or self._is_approved_for_run(name)):
                return False
            await acheck_arguments(tool, use.arguments)
        except ToolError:
            return False
        return True

    def _is_approved_for_run(self, name: str) -> bool:
        approved = self.conversation.approved_tools
        return name in approved and not self._has_changed(name, approved[name])

    def _has_changed(self, name: str, digest: str) -> bool:
        """Whether the tool is not what it was when a person approved it. One that is not there only fails."""
        now = self.tools.digest_of(name)
        return bool(digest and now) and now != digest

    async def finish_open(self) -> AsyncIterator[Event]:
        """Finish the calls of an earlier attempt: repeat them only if that is safe, else report an unknown outcome.

        Calls that wait for approval are made if they were approved, and keep waiting if nobody decided.
        """
        for text, code in await self.tools.refresh():
            yield RunWarning(text, code)
        calls: list[tuple[StepDone, StepDone]] = []
        approved: list[StepDone] = []
        waiting: list[StepDone] = []
        for open_tool in self.conversation.open_tools:
            call, decision = open_tool.use, open_tool.decision
            use = StepDone(0, "", open_tool.iteration, call.arguments, 0, 0, call.id, call.name)
            use.arguments = parse_arguments(call.arguments)
            if decision and decision.arguments is not None:
                use.arguments, use.is_edited = decision.arguments, True
            row = _ledger_row(open_tool.index, use)
            if open_tool.cut:
                yield self._result(row, ToolResult(CUT_CALL[open_tool.cut], is_error=True))
            elif decision and decision.action:
                answered = client_tools if decision.action == CLIENT_TOOL else questions
                yield self._result(row, answered.outcome(decision))
            elif open_tool.started:
                if self._may_run_again(call.name):
                    calls.append((use, row))
                else:
                    yield self._result(row, ToolResult(UNKNOWN_OUTCOME, is_error=True))
            elif decision is None and not self._is_approved_for_run(call.name):
                waiting.append(row)
            elif decision and decision.approved and self._has_changed(call.name, decision.tool_digest):
                yield self._result(row, ToolResult(CHANGED_TOOL, is_error=True))
            elif decision is None or decision.approved:
                approved.append(row)
                calls.append((use, row))
            else:
                yield self._result(row, ToolResult(_denied(decision), is_error=True))
        self.conversation.open_tools = []
        if approved:
            yield ToolsStarting([], approved)
        async for event in self._call_all(calls):
            yield event
        if waiting:
            yield AwaitingApproval(waiting)

    def _may_run_again(self, name: str) -> bool:
        try:
            return self.tools.get(name).may_run_again
        except ToolError:
            return not self.tools.problems  # no such tool, and calling it only says so; or a source is missing

    async def _call_all(self, calls: list[tuple[StepDone, StepDone]]) -> AsyncIterator[Delta | StepDone]:
        """Call the tools, some at the same time; yield their progress and results as they come."""
        if not calls:
            return
        events: asyncio.Queue[Delta | StepDone] = asyncio.Queue()
        places = asyncio.Semaphore(MOST_CALLS_AT_A_TIME)
        tasks = [asyncio.create_task(self._call_in_turn(use, row, events, places)) for use, row in calls]
        try:
            for _ in tasks:
                while type(event := await events.get()) is Delta:
                    yield event
                yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT)

    async def _call_in_turn(
        self, use: StepDone, row: StepDone, events: "asyncio.Queue[Delta | StepDone]", places: asyncio.Semaphore
    ) -> None:
        async with places:
            await self._call(use, row, events)

    async def _call(self, use: StepDone, row: StepDone, events: "asyncio.Queue[Delta | StepDone]") -> None:
        row.started = time.time()
        with instrumentation.tool_call(use.tool_name, use.tool_call_id, self.tools.server_of(use.tool_name)) as call:
            call.result = await self._outcome(use, row, events, call)
        if use.is_edited:
            call.result = _about_edited(use, call.result)
        events.put_nowait(self._result(row, call.result))

    async def _outcome(
        self, use: StepDone, row: StepDone, events: "asyncio.Queue[Delta | StepDone]", call: instrumentation.ToolCall
    ) -> ToolResult:
        length, limits = 0, self.spec.limits

        def progress(text: str) -> None:
            nonlocal length
            text = clean(text)
            if text and not row.finished and length + len(text) < limits.max_progress_characters:
                events.put_nowait(Delta(row.index, TOOL_RESULT, row.iteration, length, text + "\n"))
                length += len(text) + 1

        timeout = TOOL_TIMEOUT
        try:
            if use.arguments is None:
                raise ToolError(arguments_problem(use.content))
            tool = self.tools.get(use.tool_name)
            await acheck_arguments(tool, use.arguments)
            timeout = tool.timeout or TOOL_TIMEOUT
            async with asyncio.timeout(timeout):
                result = await tool.call(use.arguments, Call(use.tool_call_id, progress, limits))
            return result if isinstance(result, ToolResult) else ToolResult(result)
        except ToolError as error:
            return ToolResult(str(error), is_error=True)
        except TimeoutError:
            call.timed_out = True
            return ToolResult(f"The tool gave no result within {timeout:g} seconds.", is_error=True)
        except Exception:
            logger.exception("Tool %s failed", use.tool_name)
            return ToolResult("The tool failed with an internal error.", is_error=True)

    def _result(self, row: StepDone, result: ToolResult) -> StepDone:
        row.content, row.is_error = clean(result.content), result.is_error
        row.attachments, row.details = result.attachments, result.details
        row.finished = time.time()
        self.conversation.usage.tool_calls += 1
        parts = result_parts(row.content, filter(None, (each.part() for each in row.attachments)))
        message = Message(
            "tool",
            row.content,
            tool_call_id=row.tool_call_id,
            is_error=row.is_error,
            parts=parts,
            step=row.index,
        )
        self.conversation.turns.append(message)
        return row


def _replay(use: StepDone) -> ToolCall:
    return replay_call(use.tool_call_id, use.tool_name, use.arguments, use.content, use.provider_data)


def _denied(decision: Decision) -> str:
    if not decision.by:
        return "This call was not made: nobody approved it in time."
    reason = f" Reason: {decision.reason}" if decision.reason else " No reason."
    return f"This call was not made: {decision.by} did not approve it.{reason}"


def _about_edited(use: StepDone, result: ToolResult) -> ToolResult:
    """Tell the model that a person changed its call."""
    arguments = json.dumps(use.arguments, ensure_ascii=False)
    return dataclasses.replace(result, content=f"{EDITED_CALL.format(arguments)}\n\n{result.content}")


def _ledger_row(index: int, use: StepDone) -> StepDone:
    return StepDone(
        index=index,
        type=TOOL_RESULT,
        iteration=use.iteration,
        content="",
        started=time.time(),
        finished=0.0,
        tool_call_id=use.tool_call_id,
        tool_name=use.tool_name,
        arguments=use.arguments,
    )

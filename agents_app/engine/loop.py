"""The agent loop: model → tools → model → … → answer."""

import asyncio
import contextlib
import dataclasses
import json
import logging
import random
import time
from collections.abc import AsyncIterator

from agents_app.engine import context_window, instrumentation, questions
from agents_app.engine.arguments import arguments_problem, parse_arguments
from agents_app.engine.events import (
    CUT_SHORT,
    TOOL_RESULT,
    UNKNOWN_END,
    Answer,
    AwaitingApproval,
    Delta,
    Event,
    Retry,
    RunWarning,
    StepDone,
    ToolsStarting,
)
from agents_app.engine.providers.accepts import FileRefused
from agents_app.engine.providers.base import Files, Model, ModelRequest
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
from agents_app.engine.toolset import Call, ToolError, ToolResult, Toolset, acheck_arguments
from agents_app.engine.turn import TurnReader
from agents_app.exceptions import LimitReached, ModelError, ModelUnavailable, RunFailed
from agents_app.foreign_text import clean

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 4
MAX_DELAY = 60.0
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
TOO_MANY_CALLS = f"This call was not made: at most {MOST_CALLS_PER_TURN} calls are made in one turn. Make it again."
CUT_CALL = {
    "length": (
        "This call was not made: your answer reached its limit of tokens before the call was complete. Make it again, "
        "with less text before it or shorter arguments."
    ),
    "content_filter": "This call was not made: a content filter ended your answer before the call was complete.",
    UNKNOWN_END: "This call was not made: your answer ended before the call was complete. Make it again.",
}
CUT_CALLS = "Calls of tools were not made: the model's answer was cut off before they were complete."
MAY_BE_CUT = "The model's server did not say why the answer ended: it may be cut off."
NO_ANSWER = "The model ended its turn without an answer."


class Turns:
    """One run of an agent. Iterate over `events()`; `open_answer` is the text of an unfinished answer."""

    def __init__(
        self, spec: AgentSpec, conversation: Conversation, model: Model, tools: Toolset, files: Files | None = None
    ) -> None:
        self.spec = spec
        self.conversation = conversation
        self.model = model
        self.tools = tools
        self._files = files
        self._file_weights: dict[str, int] = {}  # of files that were rendered: see `context_window.file_characters`
        self._refused_kinds: frozenset[str] = frozenset()  # of files, by the model's server
        self._reader: TurnReader | None = None
        self._characters = 0  # of the turns that ended or failed
        self._may_be_empty = False  # the model has said nothing before

    @property
    def open_answer(self) -> str:
        return self._reader.open_answer if self._reader else ""

    @property
    def open_steps(self) -> list[int]:
        return self._reader.open_steps if self._reader else []

    async def events(self) -> AsyncIterator[Event]:
        """Yield the run's events. Close the iterator to stop: it closes the model's socket and cancels tools.

        Raises:
            RunFailed: the run cannot continue. The text says why, in one sentence.
        """
        if self.conversation.open_tools:
            async for event in self._finish_open_tools():
                yield event
                if type(event) is AwaitingApproval:
                    return
        while True:
            self._check_limits()
            for text, code in await self.tools.refresh():
                yield RunWarning(text, code)
            self.conversation.iteration += 1
            async for event in self._model_turn():
                yield event
            reader = self._reader
            assert reader is not None
            if reader.answer is not None:
                self._check_answer(reader)
                if reader.end_reason == UNKNOWN_END:
                    yield RunWarning(MAY_BE_CUT, "answer_may_be_cut")
                yield Answer(reader.answer, _cut_short(reader.end_reason))
                return
            async for event in self._tool_turn(reader.calls):
                yield event
                if type(event) is AwaitingApproval:
                    return

    # The model's part

    async def _model_turn(self) -> AsyncIterator[Event]:
        shrink = 1.0
        self._may_be_empty = False
        for attempt in range(1, MAX_ATTEMPTS + 1):
            reader = self._reader = TurnReader(self.conversation.iteration, self.conversation.next_index)
            try:
                async for event in self._request_turn(reader, shrink, is_last_attempt=attempt == MAX_ATTEMPTS):
                    yield event
                return
            except ModelError as error:
                self._characters += reader.characters
                if isinstance(error, FileRefused):
                    self._refused_kinds |= error.kinds
                if attempt == MAX_ATTEMPTS or not self._can_retry(error):
                    raise
                if error.code == "context_length_exceeded":
                    shrink = self._smaller(shrink, error)
                self._may_be_empty = error.code == "no_answer"
                delay = _delay(attempt, error)
                steps = reader.open_steps or [reader.next_index]
                self.conversation.next_index = steps[0]
                yield Retry(steps, attempt, str(error), delay)
                await asyncio.sleep(delay)

    async def _request_turn(self, reader: TurnReader, shrink: float, *, is_last_attempt: bool) -> AsyncIterator[Event]:
        request = await self._request_with_files(shrink)
        limits = self.spec.limits
        turn_limit = limits.turn_characters(self.spec.parameters.max_tokens)
        limit = min(turn_limit, limits.max_run_characters - self._characters)
        self.conversation.usage.requests += 1
        with instrumentation.model_call(self.spec.model, request, is_last_attempt=is_last_attempt) as call:
            async with contextlib.aclosing(self.model.stream(request)) as stream:  # type: ignore[type-var]
                try:
                    async for parts in stream:
                        call.on_part()
                        for part in parts:
                            for event in reader.feed(part):
                                yield event
                        if reader.characters > limit:
                            raise _too_long(turn_limit, limits.max_run_characters, limit)
                except ModelUnavailable:
                    if reader.end_reason is None:  # after the end, only the usage can be lost
                        raise
            if reader.end_reason is None:
                text = "The model's answer was cut off before it was finished."
                raise ModelUnavailable(text, code="model_stream_cut")
            call.on_answer(reader.end_reason, reader.usage)
        self._count(reader, request)  # before the last step, which is saved with the usage so far
        if reader.is_empty and reader.end_reason not in CUT_SHORT and not self._may_be_empty:
            raise ModelUnavailable(NO_ANSWER, code="no_answer")
        for step in reader.finish():
            yield step
        self.conversation.next_index = reader.next_index
        self._characters += reader.characters

    def _can_retry(self, error: ModelError) -> bool:
        if isinstance(error, ModelUnavailable):
            return (error.retry_after or 0) <= self.spec.limits.timeout
        return isinstance(error, FileRefused) or error.code == "context_length_exceeded"

    async def _request_with_files(self, shrink: float) -> ModelRequest:
        request = self._request(shrink)
        if self._files is None or not any(message.parts for message in request.messages):
            return request
        estimate = context_window.characters(request.messages, self._file_weights)
        files = await self._files.render(request.messages, self._refused_kinds, shrink)
        self._file_weights |= {file_id: file.characters for file_id, file in files.items()}
        if context_window.characters(request.messages, self._file_weights) > estimate:
            request = self._request(shrink)  # with fewer messages, now that the files turned out to be larger
        return dataclasses.replace(request, files=files)

    def _smaller(self, shrink: float, error: ModelError) -> float:
        """Return the next share of the context with less of the history, or of files. If there is none, raise."""
        before = len(self._request(shrink).messages)
        smaller = shrink
        while smaller > 1e-6:
            smaller *= 0.6
            if len(self._request(smaller).messages) < before:
                return smaller
        if self._file_weights:
            return shrink * 0.3
        raise error

    def _request(self, shrink: float) -> ModelRequest:
        spec = self.spec
        window = spec.model.context_tokens
        answer = min(spec.parameters.max_tokens, window // 2) if spec.parameters.max_tokens else min(2048, window // 4)
        # Without the reasons, which have commands and addresses: a user can ask the model for its prompt.
        missing = [f"Some tools of {source!r} are not available now." for source in self.tools.problems]
        prompt = "\n\n".join([spec.system_prompt, *missing]).strip()
        return ModelRequest(
            model=spec.model.model,
            system_prompt=prompt,
            messages=context_window.fit(spec.model, prompt, self.conversation, answer, shrink, self._file_weights),
            tools=self.tools.tools,
            parameters=spec.parameters,
        )

    def _count(self, reader: TurnReader, request: ModelRequest) -> None:
        if reader.usage is None:
            return
        usage = self.conversation.usage
        usage.input_tokens += reader.usage.input_tokens
        usage.output_tokens += reader.usage.output_tokens
        usage.reasoning_tokens += reader.usage.reasoning_tokens
        usage.cached_tokens += reader.usage.cached_tokens
        # Schemas and files count too, by an unknown amount.
        if not (request.tools or request.parameters.response_format or request.files):
            size = context_window.characters(request.messages) + len(request.system_prompt)
            context_window.learn(self.spec.model, size, reader.usage.input_tokens)

    def _check_answer(self, reader: TurnReader) -> None:
        if reader.answer:
            return
        if reader.end_reason == "length":
            raise LimitReached("The model used all its tokens before it began to answer.", code="max_tokens")
        if reader.end_reason == "content_filter":
            raise RunFailed("The model's server withheld the answer (content filter).", code="content_filter")
        raise RunFailed(NO_ANSWER, code="no_answer")

    def _check_limits(self) -> None:
        limits, usage = self.spec.limits, self.conversation.usage
        if self.conversation.iteration >= limits.max_iterations:
            raise LimitReached(
                f"The agent did not reach an answer within {limits.max_iterations} model turns.",
                code="max_iterations",
            )
        used = usage.input_tokens + usage.output_tokens
        if limits.max_total_tokens is not None and used >= limits.max_total_tokens:
            raise LimitReached(
                f"The run used {used} tokens; its limit is {limits.max_total_tokens}.",
                code="max_total_tokens",
            )

    # The tools' part

    async def _tool_turn(self, uses: list[StepDone]) -> AsyncIterator[Event]:
        conversation = self.conversation
        calls: list[tuple[StepDone, StepDone]] = []
        waiting: list[StepDone] = []
        not_made: list[tuple[StepDone, str]] = []
        for number, use in enumerate(uses, start=1):
            row = _ledger_row(conversation.next_index, use)
            conversation.next_index += 1
            if cut := use.provider_data.get("cut"):
                not_made.append((row, CUT_CALL[cut]))
            elif number > MOST_CALLS_PER_TURN:
                not_made.append((row, TOO_MANY_CALLS))
            elif await self._must_be_approved(use):
                row.tool_digest = self.tools.digest_of(use.tool_name)
                tool = self.tools.get(use.tool_name)
                row.parameters, row.asks = tool.parameters, tool.asks
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
        """Whether a person must approve the call first. A call with invalid arguments only fails."""
        name = use.tool_name
        if use.arguments is None:
            return False
        try:
            tool = self.tools.get(name)
            if not tool.asks and (not self.tools.needs_approval(name) or self._is_approved_for_run(name)):
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

    async def _finish_open_tools(self) -> AsyncIterator[Event]:
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
            elif decision and decision.is_answer:
                yield self._result(row, questions.outcome(decision))
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
        message = Message("tool", row.content, tool_call_id=row.tool_call_id, is_error=row.is_error, parts=parts)
        self.conversation.turns.append(message)
        return row


def _replay(use: StepDone) -> ToolCall:
    return replay_call(use.tool_call_id, use.tool_name, use.arguments, use.content, use.provider_data)


def _cut_short(reason: str | None) -> str:
    """Return why an answer is not complete; of one that may be cut, say that it reached a limit."""
    if reason == UNKNOWN_END:
        return "length"
    return reason if reason and reason in CUT_SHORT else ""


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


def _too_long(turn_limit: int, run_limit: int, limit: int) -> LimitReached:
    what, most = ("in one turn", turn_limit) if limit == turn_limit else ("in this run", run_limit)
    return LimitReached(f"The model wrote more than {most:,} characters {what}.", code="max_characters")


def _delay(attempt: int, error: ModelError) -> float:
    """Return the seconds before the next attempt: what the server requests, else 0.5, 1, 2 … with jitter."""
    if error.code in ("context_length_exceeded", FileRefused.code):
        return 0.0
    retry_after = error.retry_after if isinstance(error, ModelUnavailable) else None
    if retry_after is not None:
        return retry_after
    return min(0.5 * 2 ** (attempt - 1), MAX_DELAY) * random.uniform(0.75, 1.25)  # noqa: S311 — no secret

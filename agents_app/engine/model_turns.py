"""A turn of the model: request, stream, retries with less history or after a delay."""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator

from agents_app.engine import context_window, instrumentation
from agents_app.engine.events import CUT_SHORT, Event, Retry
from agents_app.engine.providers.accepts import FileRefused
from agents_app.engine.providers.base import Files, Model, ModelRequest
from agents_app.engine.spec import AgentSpec, Conversation, Parameters
from agents_app.engine.spending import TurnEstimate
from agents_app.engine.toolset import Toolset
from agents_app.engine.turn import TurnReader
from agents_app.exceptions import LimitReached, ModelError, ModelUnavailable

MAX_ATTEMPTS = 4
MAX_DELAY = 60.0
NO_ANSWER = "The model ended its turn without an answer."


class ModelTurns:
    """The model's turns in one run. `reader` is that of the newest attempt; None before the first one."""

    def __init__(
        self, spec: AgentSpec, conversation: Conversation, model: Model, tools: Toolset, files: Files | None
    ) -> None:
        self.spec = spec
        self.conversation = conversation
        self.model = model
        self.tools = tools
        self.reader: TurnReader | None = None
        self._files = files
        self._file_weights: dict[str, int] = {}  # of files that were rendered: see `context_window.file_characters`
        self._refused_kinds: frozenset[str] = frozenset()  # of files, by the model's server
        self._characters = 0  # of the turns that ended or failed
        self._may_be_empty = False  # the model has said nothing before

    async def events(self) -> AsyncIterator[Event]:
        """Yield the events of the next turn, whose reader is complete at the end.

        Raises:
            ModelError: no attempt succeeded.
            LimitReached: the model wrote too much.
        """
        shrink = 1.0
        self._may_be_empty = False
        for attempt in range(1, MAX_ATTEMPTS + 1):
            reader = self.reader = TurnReader(self.conversation.iteration, self.conversation.next_index)
            try:
                async for event in self._request_turn(reader, shrink, is_last_attempt=attempt == MAX_ATTEMPTS):
                    yield event
                return
            except ModelError as error:
                self._characters += reader.characters
                if isinstance(error, FileRefused):
                    self._refused_kinds |= error.kinds
                self._release_files()
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
            finally:
                self._release_files()

    def estimate(self) -> TurnEstimate:
        """Return the most tokens that the next turn is expected to take."""
        request = self._request(1.0)
        size = context_window.characters(request.messages, self._file_weights) + len(request.system_prompt)
        size += sum(len(tool.description) + len(str(tool.parameters)) for tool in request.tools)
        return TurnEstimate(context_window.tokens(self.spec.model, size), self._answer_tokens())

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

    def _release_files(self) -> None:
        if self._files is not None:
            self._files.release()

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
        return dataclasses.replace(request, files=files, on_sent=self._files.release)

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
        answer = self._answer_tokens()
        # Without the reasons, which have commands and addresses: a user can ask the model for its prompt.
        missing = [f"Some tools of {source!r} are not available now." for source in self.tools.problems]
        prompt = "\n\n".join([spec.system_prompt, *missing]).strip()
        return ModelRequest(
            model=spec.model.model,
            system_prompt=prompt,
            messages=context_window.fit(spec.model, prompt, self.conversation, answer, shrink, self._file_weights),
            tools=self.tools.tools,
            parameters=self._parameters(),
        )

    def _answer_tokens(self) -> int:
        """Return how many tokens of the window are for the answer."""
        window, most = self.spec.model.context_tokens, self.spec.parameters.max_tokens
        return min(most, window // 2) if most else min(2048, window // 4)

    def _parameters(self) -> Parameters:
        parameters = self.spec.parameters
        choice = parameters.tool_choice
        if choice is None or (choice.turn == self.conversation.iteration and self.tools.tools):
            return parameters
        return dataclasses.replace(parameters, tool_choice=None)

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

"""A turn of the model: request, stream, retries with less history or after a delay."""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Iterator

from agents_app.engine import context_window, instrumentation
from agents_app.engine.compaction import READ_RESULT
from agents_app.engine.compactor import Compactor
from agents_app.engine.events import CUT_SHORT, Event, Retry, RunWarning
from agents_app.engine.fallbacks import TOO_SLOW, Fallbacks
from agents_app.engine.providers.accepts import FileRefused
from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.spec import AgentSpec, Conversation, ModelSpec, Parameters
from agents_app.engine.spending import TurnEstimate
from agents_app.engine.toolset import Toolset
from agents_app.engine.turn import TurnReader
from agents_app.engine.window import Fitted, Window
from agents_app.exceptions import LimitReached, ModelError, ModelUnavailable

MAX_ATTEMPTS = 4
MAX_DELAY = 60.0
HISTORY_CUT = "history_cut"
NO_ANSWER = "The model ended its turn without an answer."


class ModelTurns:
    """The model's turns in one run. `reader` is that of the newest attempt; None before the first one."""

    def __init__(self, spec: AgentSpec, conversation: Conversation, fallbacks: Fallbacks, tools: Toolset) -> None:
        self.spec = spec
        self.conversation = conversation
        self.tools = tools
        self.reader: TurnReader | None = None
        self._fallbacks = fallbacks
        self._window = Window(spec, self.model, conversation, tools)
        self._compactor = Compactor(fallbacks, self._window, tools)
        self._left_out = 0  # messages, as far as a warning says so
        self._most_tokens: int | None = None  # of the answer, after the model's server rejected `max_tokens`
        self._refused_kinds: frozenset[str] = frozenset()  # of files, by the model's server
        self._characters = 0  # of the turns that ended or failed
        self._may_be_empty = False  # the model has said nothing before

    @property
    def model(self) -> ModelSpec:
        """Return the model that is asked now, or answered last."""
        return self._fallbacks.present.spec

    async def events(self) -> AsyncIterator[Event]:
        """Yield the events of the next turn, whose reader is complete at the end.

        Raises:
            ModelError: no attempt succeeded.
            LimitReached: the model wrote too much.
        """
        attempt = 1
        self._may_be_empty = False
        if warning := await self._fallbacks.begin_turn():
            yield self._with_other_model(warning)
        while True:
            async for event in self._compactor.events():
                yield event
            reader = self.reader = TurnReader(self.conversation.iteration, self.conversation.next_index)
            try:
                async for event in self._request_turn(reader, is_last_attempt=self._is_last(attempt)):
                    yield event
                return
            except ModelError as error:
                self._characters += reader.characters
                self._release_files()
                warning = await self._fallbacks.after(
                    error, has_tokens=reader.characters > 0, can_retry=self._can_retry(error)
                )
                if warning:
                    yield self._with_other_model(warning)
                    continue
                if isinstance(error, FileRefused):
                    self._refused_kinds |= error.kinds
                if attempt == MAX_ATTEMPTS or not self._fallbacks.may_retry:
                    raise
                if error.code == "context_length_exceeded":
                    self._ask_for_less(error)
                self._may_be_empty = error.code == "no_answer"
                delay = _delay(attempt, error)
                if await self._fallbacks.begin_round():
                    delay = _backoff(attempt)
                    self._forget_model()
                steps = reader.open_steps or [reader.next_index]
                self.conversation.next_index = steps[0]
                yield Retry(steps, attempt, str(error), delay)
                await asyncio.sleep(delay)
                attempt += 1
            finally:
                self._release_files()

    def estimate(self) -> TurnEstimate:
        """Return the most tokens that the next turn is expected to take, with the summary that it may begin with."""
        window = self._window
        size = window.fixed() + window.of(window.fit().messages)
        if window.spec.compaction == "summary" and window.size() > window.summary_at:
            size += window.size()
        return TurnEstimate(window.tokens(size), window.answer_tokens)

    def _is_last(self, attempt: int) -> bool:
        return attempt == MAX_ATTEMPTS and not self._fallbacks.has_more

    def _with_other_model(self, warning: RunWarning) -> RunWarning:
        self._forget_model()
        return warning

    def _forget_model(self) -> None:
        """Forget what is true of the model before only."""
        self._window.use(self.model)
        self._most_tokens = None
        self._refused_kinds = frozenset()
        self._may_be_empty = False

    async def _request_turn(self, reader: TurnReader, *, is_last_attempt: bool) -> AsyncIterator[Event]:
        request, fitted = await self._request_with_files()
        for warning in self._warnings(fitted):
            yield warning
        limits = self.spec.limits
        turn_limit = limits.turn_characters(self.spec.parameters.max_tokens)
        limit = min(turn_limit, limits.max_run_characters - self._characters)
        self.conversation.usage.requests += 1
        self.conversation.usage.of(self.model.place).requests += 1
        with instrumentation.model_call(self.model, request, is_last_attempt=is_last_attempt) as call:
            async with (
                contextlib.aclosing(self._fallbacks.present.model.stream(request)) as stream,  # type: ignore[type-var]
                _first_token_within(self._fallbacks.first_token_timeout) as deadline,
            ):
                is_first = True
                try:
                    async for parts in stream:
                        if is_first:
                            is_first = False
                            deadline.reschedule(None)
                            call.on_first_part()
                            await self._fallbacks.answers()
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
        if (files := self._fallbacks.present.files) is not None:
            files.release()

    def _can_retry(self, error: ModelError) -> bool:
        if isinstance(error, ModelUnavailable):
            return (error.retry_after or 0) <= self.spec.limits.timeout
        return isinstance(error, FileRefused) or error.code == "context_length_exceeded"

    async def _request_with_files(self) -> tuple[ModelRequest, Fitted]:
        window, renderer = self._window, self._fallbacks.present.files
        request, fitted = self._request()
        if renderer is None or not any(message.parts for message in request.messages):
            return request, fitted
        estimate = window.of(request.messages)
        files = await renderer.render(request.messages, self._refused_kinds, window.shrink)
        window.file_weights |= {file_id: file.characters for file_id, file in files.items()}
        if window.of(request.messages) > estimate:
            request, fitted = self._request()  # with fewer messages, now that the files turned out to be larger
        return dataclasses.replace(request, files=files, on_sent=renderer.release), fitted

    def _request(self) -> tuple[ModelRequest, Fitted]:
        fitted = self._window.fit()
        if fitted.has_cut_result:
            self.tools.offer(READ_RESULT)
        request = ModelRequest(
            model=self.model.model,
            system_prompt=self._window.system_prompt(),
            messages=fitted.messages,
            tools=self.tools.tools,
            parameters=self._parameters(),
        )
        return request, fitted

    def _warnings(self, fitted: Fitted) -> Iterator[RunWarning]:
        """Yield what is missing in a request: each time that it is twice as much."""
        if fitted.left_out > 2 * self._left_out:
            self._left_out = fitted.left_out
            text = f"{fitted.left_out:,} of the oldest messages do not fit the model's context and were left out."
            yield RunWarning(text, HISTORY_CUT)
        if self.conversation.has_more:
            self.conversation.has_more = False
            yield RunWarning("The session has older messages, which the model does not get.", HISTORY_CUT)

    def _ask_for_less(self, error: ModelError) -> None:
        """After a server rejected the request as too long, use less of the window: for the answer, history or files.

        Raises:
            ModelError: there is nothing to leave out.
        """
        window = self._window
        tokens, most = window.model.context_tokens, self.spec.parameters.max_tokens
        left = tokens - window.tokens(window.fixed() + window.of(window.fit().messages))
        if self._most_tokens is None and most and most > left:
            self._most_tokens = max(left, window.answer_tokens // 2, 1)
            return
        first, before = window.shrink, window.of(window.fit().messages)
        while window.shrink > 1e-6:
            window.shrink *= 0.6
            if window.of(window.fit().messages) < before:
                return
        window.shrink = first
        if not window.file_weights:
            raise error
        window.shrink *= 0.3

    def _parameters(self) -> Parameters:
        parameters = self.spec.parameters
        if self._most_tokens is not None:
            parameters = dataclasses.replace(parameters, max_tokens=self._most_tokens)
        choice = parameters.tool_choice
        if choice is None or (choice.turn == self.conversation.iteration and self.tools.tools):
            return parameters
        return dataclasses.replace(parameters, tool_choice=None)

    def _count(self, reader: TurnReader, request: ModelRequest) -> None:
        if reader.usage is None:
            return
        for usage in (self.conversation.usage, self.conversation.usage.of(self.model.place)):
            usage.input_tokens += reader.usage.input_tokens
            usage.output_tokens += reader.usage.output_tokens
            usage.reasoning_tokens += reader.usage.reasoning_tokens
            usage.cached_tokens += reader.usage.cached_tokens
        self.conversation.context_tokens = reader.usage.input_tokens + reader.usage.output_tokens
        if not request.files:  # which count too, by an unknown amount
            size = self._window.fixed() + self._window.of(request.messages)
            context_window.learn(self.model, size, reader.usage.input_tokens)


@contextlib.asynccontextmanager
async def _first_token_within(seconds: float | None) -> AsyncIterator[asyncio.Timeout]:
    """End what takes longer, unless the time-out is rescheduled.

    Raises:
        ModelUnavailable: it took longer.
    """
    try:
        async with asyncio.timeout(seconds) as deadline:
            yield deadline
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise ModelUnavailable(f"The model gave no token within {seconds:g} seconds.", code=TOO_SLOW) from error


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
    return _backoff(attempt)


def _backoff(attempt: int) -> float:
    return min(0.5 * 2 ** (attempt - 1), MAX_DELAY) * random.uniform(0.75, 1.25)  # noqa: S311 — no secret

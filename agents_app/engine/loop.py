"""The agent loop: model → tools → model → … → answer."""

from collections.abc import AsyncIterator

from agents_app.engine.events import CUT_SHORT, UNKNOWN_END, Answer, AwaitingApproval, Event, RunWarning
from agents_app.engine.fallbacks import Fallbacks
from agents_app.engine.model_turns import NO_ANSWER, ModelTurns
from agents_app.engine.spec import AgentSpec, Conversation, ModelSpec
from agents_app.engine.spending import Spending
from agents_app.engine.steering import Steering, add_message
from agents_app.engine.tool_calls import ToolCalls
from agents_app.engine.toolset import Toolset
from agents_app.engine.turn import TurnReader
from agents_app.exceptions import LimitReached, RunFailed

MAY_BE_CUT = "The model's server did not say why the answer ended: it may be cut off."


class Turns:
    """One run of an agent. Iterate over `events()`; `open_answer` is the text of an unfinished answer."""

    def __init__(
        self,
        spec: AgentSpec,
        conversation: Conversation,
        models: Fallbacks,
        tools: Toolset,
        spending: Spending | None = None,
        steering: Steering | None = None,
    ) -> None:
        self.spec = spec
        self._spending = spending
        self.conversation = conversation
        self.tools = tools
        self._steering = steering
        self._model_turns = ModelTurns(spec, conversation, models, tools)
        self._tool_calls = ToolCalls(spec, conversation, tools)

    @property
    def model(self) -> ModelSpec:
        """Return the model that is asked now, or answered last."""
        return self._model_turns.model

    @property
    def open_answer(self) -> str:
        reader = self._model_turns.reader
        return reader.open_answer if reader else ""

    @property
    def open_steps(self) -> list[int]:
        reader = self._model_turns.reader
        return reader.open_steps if reader else []

    async def events(self) -> AsyncIterator[Event]:
        """Yield the run's events. Close the iterator to stop: it closes the model's socket and cancels tools.

        Raises:
            RunFailed: the run cannot continue. The text says why, in one sentence.
        """
        if self.conversation.open_tools:
            async for event in self._tool_calls.finish_open():
                yield event
                if type(event) is AwaitingApproval:
                    return
        while True:
            self._check_limits()
            for text, code in await self.tools.refresh():
                yield RunWarning(text, code)
            if self._spending and (wait := await self._spending.begin_turn(self._model_turns.estimate)):
                yield wait
                return
            self.conversation.iteration += 1
            if self._steering is not None and self.conversation.turns:
                for message in await self._steering.take(self.conversation.iteration):
                    add_message(self.conversation.turns, message)
            async for event in self._model_turns.events():
                yield event
            reader = self._model_turns.reader
            assert reader is not None
            if reader.answer is not None:
                _check_answer(reader)
                if reader.end_reason == UNKNOWN_END:
                    yield RunWarning(MAY_BE_CUT, "answer_may_be_cut")
                yield Answer(reader.answer, _cut_short(reader.end_reason))
                return
            async for event in self._tool_calls.make(reader.calls):
                yield event
                if type(event) is AwaitingApproval:
                    return

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


def _check_answer(reader: TurnReader) -> None:
    if reader.answer:
        return
    if reader.end_reason == "length":
        raise LimitReached("The model used all its tokens before it began to answer.", code="max_tokens")
    if reader.end_reason == "content_filter":
        raise RunFailed("The model's server withheld the answer (content filter).", code="content_filter")
    raise RunFailed(NO_ANSWER, code="no_answer")


def _cut_short(reason: str | None) -> str:
    """Return why an answer is not complete; of one that may be cut, say that it reached a limit."""
    if reason == UNKNOWN_END:
        return "length"
    return reason if reason and reason in CUT_SHORT else ""

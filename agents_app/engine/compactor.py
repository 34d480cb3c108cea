"""Keep one run's conversation within the model's window, before each turn of the model."""

import asyncio
import time
from collections.abc import AsyncIterator

from agents_app.engine import compaction, summary
from agents_app.engine.compaction import READ_RESULT, SUMMARY, TOOL_RESULTS, Division
from agents_app.engine.events import Compacted, Event, RunWarning
from agents_app.engine.fallbacks import Fallbacks
from agents_app.engine.spec import Compaction, Conversation
from agents_app.engine.toolset import Toolset
from agents_app.engine.window import Window
from agents_app.exceptions import ModelError

_TIMEOUT = 120.0  # seconds that a summary may take
# Shares of the size from which on the conversation is summarized:
_KEPT_RESULTS = 0.25  # the newest results, which stay
_BLOCK = 0.1  # at least, that replacing results must save: each time the provider's cache is lost
_KEPT_MESSAGES = 0.4  # the newest messages, which no summary covers


class Compactor:
    """Decides when, and makes, the compactions of one run. A summary that failed is not tried again in this attempt."""

    def __init__(self, fallbacks: Fallbacks, window: Window, tools: Toolset) -> None:
        self._fallbacks = fallbacks
        self._window = window
        self._tools = tools
        self._has_failed = False

    @property
    def _conversation(self) -> Conversation:
        return self._window.conversation

    async def events(self) -> AsyncIterator[Event]:
        """Yield what changes, and the warning of a summary that failed."""
        window, mode = self._window, self._window.spec.compaction
        if mode == "off":
            return
        size = window.size()
        if size > window.tools_at and (replaced := self._replace_results(size)):
            yield replaced
            size = window.size()
        is_full = size > window.summary_at or len(self._conversation.marks) > compaction.MOST_RUNS
        if mode == "summary" and is_full and not self._has_failed:
            async for event in self._summarize(size):
                yield event
        if compaction.names_results(self._conversation):
            self._tools.offer(READ_RESULT)

    def _replace_results(self, size: int) -> Compacted | None:
        window, conversation = self._window, self._conversation
        division = compaction.divide(conversation, keep=window.summary_at * _KEPT_RESULTS, size=window.of)
        if division is None:
            return None
        before = [*conversation.history[: division.history], *conversation.turns[: division.turns]]
        saved = compaction.saved(before)
        if saved <= 0 or (saved < window.summary_at * _BLOCK and size <= window.summary_at):
            return None
        return self._apply(Compaction(TOOL_RESULTS, division.position), division, size, time.time())

    async def _summarize(self, size: int) -> AsyncIterator[Event]:
        window, conversation, started = self._window, self._conversation, time.time()
        # The caller of a run that is to get the summary drops everything before it.
        keep = window.summary_at * _KEPT_MESSAGES if window.spec.keeps_earlier else 0
        division = compaction.divide(conversation, keep=keep, size=window.of)
        if division is None:
            return
        older = conversation.history[: division.history]
        own = conversation.turns[: division.turns]  # with what the user added while the run worked
        quotes = summary.last_messages([*older, *own], conversation.history[division.history :])
        if division.turns:
            older = [*older, *window.prompt(), *own]
        if window.of(older) < 2 * summary.summary_characters(window) and size <= window.room:
            return  # a summary would save nothing
        try:
            async with asyncio.timeout(_TIMEOUT):
                text = await summary.write(self._fallbacks.present.model, window, older, quotes, conversation.usage)
        except (ModelError, summary.NoSummary, TimeoutError) as error:
            self._has_failed = True
            reason = str(error) or f"The model did not write it within {_TIMEOUT:g} seconds."
            message = f"The earlier messages could not be summarized: {reason} The oldest ones are left out instead."
            yield RunWarning(message, "summary_failed")
            return
        made = Compaction(SUMMARY, division.position, text, model=window.model.model)
        yield self._apply(made, division, size, started)

    def _apply(self, made: Compaction, division: Division, size: int, started: float) -> Compacted:
        conversation, window = self._conversation, self._window
        compaction.apply(conversation, made)
        made = Compaction(
            made.kind, made.upto, made.text, window.tokens(size), window.tokens(window.size()), made.model
        )
        index = conversation.next_index
        conversation.next_index += 1
        return Compacted(made, index, conversation.iteration, started, division.seq)

"""Make room in a model's window: replace old results of tools by a line each, and old messages by a summary.

Where the conversation is divided, and what is then told of the part before. What the summary says is in `summary.py`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from agents_app.engine.spec import Compaction, Conversation, FilePart, Mark, Message, Position

TOOL_RESULTS: Final = "tool_results"
SUMMARY: Final = "summary"
READ_RESULT = "read_result"
MOST_RUNS = 150  # of a session in one request: then it is summarized, however short they are
_KEPT_RUNS = 50  # of those
_LEAST_REPLACED = 400  # characters of a result: to replace a shorter one saves nothing
_MOST_FILES = 10  # of one result that its line names
_ACKNOWLEDGED = "I have read the summary and go on from there."


@dataclass(frozen=True, slots=True)
class Division:
    """The conversation in two parts: `history` messages and `turns` of the run are before `position`.

    `seq`: the position in the log; None if it is in this run.
    """

    history: int
    turns: int
    position: Position
    seq: int | None


def divide(conversation: Conversation, *, keep: float, size: Callable[[Sequence[Message]], int]) -> Division | None:
    """Return where to divide, so that what follows has a size of `keep` at most; None if there is nothing before.

    The newest turn of the run is always kept. A call is never divided from its result.
    """
    kept, turns = 0, len(conversation.turns)
    starts = [place for place, message in enumerate(conversation.turns) if message.role == "assistant"]
    for start in reversed(starts):
        group = size(conversation.turns[start:turns])
        if turns < len(conversation.turns) and kept + group > keep:
            step = max(map(_step, conversation.turns[:turns]))
            return Division(len(conversation.history), turns, Position(conversation.run, step=step), None)
        kept, turns = kept + group, start
    mark = _mark(conversation, keep=keep - kept, size=size)
    return Division(mark.end, 0, mark.position, mark.seq) if mark else None


def _mark(conversation: Conversation, *, keep: float, size: Callable[[Sequence[Message]], int]) -> Mark | None:
    """Return the oldest mark after which the history has a size of `keep` at most; None if all of it has."""
    chosen: Mark | None = None
    end = len(conversation.history)
    for number, mark in enumerate(reversed(conversation.marks)):
        keep -= size(conversation.history[mark.end : end])
        if chosen is not None and (keep < 0 or number > _KEPT_RUNS):
            return chosen
        chosen, end = mark, mark.end
    return chosen if chosen and end and keep < size(conversation.history[:end]) else None


def apply(conversation: Conversation, compaction: Compaction) -> None:
    """Change what the model is told from now on."""
    division = _find(conversation, compaction.upto)
    if division is None:  # older than what was read of the session, or of a run that was deleted
        division = 0, 0
    history, turns = division
    if compaction.kind == TOOL_RESULTS:
        conversation.history[:history] = replaced(conversation.history[:history])
        conversation.turns[:turns] = replaced(conversation.turns[:turns])
        return
    opening = summary_messages(compaction.text)
    moved = len(opening) - history
    conversation.history[:history] = opening
    conversation.turns[:turns] = []
    marks = (mark for mark in conversation.marks if mark.end > history)
    conversation.marks = [dataclasses.replace(mark, end=mark.end + moved) for mark in marks]


def _find(conversation: Conversation, position: Position) -> tuple[int, int] | None:
    """Return how many messages of the history, and of the run's turns, are before the position."""
    if position.run == conversation.run and position.step is not None:
        return len(conversation.history), turns_until(conversation.turns, position.step)
    return next(((mark.end, 0) for mark in conversation.marks if mark.position == position), None)


def turns_until(turns: Sequence[Message], step: int) -> int:
    """Return how many messages of a run's turns there are up to this step."""
    places = (place for place, message in enumerate(turns, 1) if message.role == "tool" and _step(message) <= step)
    return max(places, default=0)


def _step(message: Message) -> int:
    """Return the step of a result; -1 if the caller of the run sent it, before the first one."""
    return -1 if message.step is None else message.step


def summary_messages(text: str) -> list[Message]:
    """Return the summary as the model gets it. Users and assistants take turns: many templates require it."""
    return [Message("user", text, is_note=True), Message("assistant", _ACKNOWLEDGED, is_note=True)]


# Results of tools


def saved(messages: Iterable[Message]) -> int:
    """Return the characters that are saved if the results among the messages are replaced."""
    return sum(len(message.content) - _LEAST_REPLACED // 2 for message in messages if _is_replaceable(message))


def _is_replaceable(message: Message) -> bool:
    return message.role == "tool" and not message.is_note and len(message.content) > _LEAST_REPLACED


def replaced(messages: Iterable[Message]) -> list[Message]:
    """Return the messages with one line in the place of each long result."""
    names: dict[str, str] = {}
    result = []
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        result.append(_line(message, names) if _is_replaceable(message) else message)
    return result


def _line(message: Message, names: dict[str, str]) -> Message:
    name = names.get(message.tool_call_id, "the tool")
    files = [f"; file {part.file_id}" for part in message.parts if isinstance(part, FilePart)]
    content = (
        f"[The result of {name}, {len(message.content):,} characters, is left out here{''.join(files[:_MOST_FILES])}. "
        f'Call {READ_RESULT} with tool_call_id "{message.tool_call_id}" to read it.]'
    )
    return dataclasses.replace(message, content=content, parts=(), encoded={}, is_note=True)


def names_results(conversation: Conversation) -> bool:
    """Whether the model is told of results that it can only read by `read_result`."""
    return any(
        message.is_note and READ_RESULT in message.content for message in (*conversation.history, *conversation.turns)
    )

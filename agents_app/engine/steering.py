"""Messages that a run takes between its model turns."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from agents_app.engine.spec import FilePart, Message


class Steering(Protocol):
    """Where the messages come from."""

    async def take(self, iteration: int) -> Sequence[Message]:
        """Return the messages of users that came since, before the model turn of that number."""


def add_message(messages: list[Message], message: Message) -> None:
    """Add a user's message. It joins one before it, because many models' templates require turns to alternate."""
    last = messages[-1] if messages else None
    if last is None or last.role != "user":
        messages.append(message)
        return
    parts = (*_parts(last), *_parts(message)) if last.parts or message.parts else ()
    content = "\n\n".join(text for text in (last.content, message.content) if text)
    messages[-1] = dataclasses.replace(last, content=content, parts=parts, encoded={})


def _parts(message: Message) -> tuple[str | FilePart, ...]:
    return message.parts or (message.content,)

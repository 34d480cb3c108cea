"""Compactions of Responses: the output item that a client sends back, with the summary in it."""

import base64
import binascii
from typing import Any

from agents_app.models import Run, Step
from agents_app.models.overrides import EarlierMessage
from chat_app.openai_api.validation import refuse

_ACKNOWLEDGED = "I have read the summary and go on from there."


def summaries(steps: list[Step]) -> list[Step]:
    """Return the steps with a summary in their order, which numbers the items: events do not name steps."""
    return [step for step in steps if step.kind == Step.Kind.COMPACTION and step.content]


def item(run: Run, number: int, summary: str) -> dict[str, Any]:
    """Return the output item of a run's summary, of which it is the `number`th."""
    content = base64.urlsafe_b64encode(summary.encode()).decode()
    return {"id": f"cmp_{run.pk.hex}_{number}", "type": "compaction", "encrypted_content": content}


def messages(content: str, path: str) -> list[EarlierMessage]:
    """Return the summary of an item as messages. It is the client's own text, which it could send as a message too."""
    try:
        text = base64.urlsafe_b64decode(content.encode()).decode()
    except (binascii.Error, ValueError):
        refuse(path, "must be that of a compaction item of this server.")
    if not text.strip() or "\x00" in text:
        refuse(path, "must be that of a compaction item of this server.")
    return [{"role": "user", "content": text}, {"role": "assistant", "content": _ACKNOWLEDGED}]

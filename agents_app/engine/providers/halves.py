"""Characters that a server cuts in two: half of a surrogate pair at the end of a piece. Pure: no I/O."""

import json
from typing import Any

from agents_app.exceptions import ModelUnavailable
from agents_app.foreign_text import clean


def lenient_json(data: bytes) -> Any:
    """Return the JSON value in `data`, which may have halves of characters, NaN, and line ends in its texts.

    Raises:
        ModelUnavailable: it is no JSON.
    """
    try:
        return json.loads(data.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError) as error:
        raise ModelUnavailable("The model's stream has an invalid chunk.", code="model_bad_stream") from error


class Halves:
    """Joins the halves of a character in two pieces of one text. `is_needed`: there was a piece with one."""

    def __init__(self) -> None:
        self.is_needed = False
        self.channel: Any = None  # the text that has a half
        self._half = ""

    def loads(self, data: bytes) -> Any:
        """Parse what the strict parser refuses."""
        self.is_needed = True
        return lenient_json(data)

    def join(self, text: str, channel: Any) -> str:
        """Return the text with what was held back of this channel, without the half that it ends with."""
        if text and channel == self.channel:
            text, self.channel = self._half + text, None
        if "\ud800" <= text[-1:] <= "\udbff":
            self.channel, self._half, text = channel, text[-1], text[:-1]
        return clean(text)

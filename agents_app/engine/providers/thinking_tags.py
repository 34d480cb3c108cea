"""Tell thoughts in tags from the answer. Pure: no I/O."""

import re

from agents_app.engine.providers.base import Part, ReasoningPart, TextPart, ThoughtEndPart

_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<seed:think>": "</seed:think>",
    "◁think▷": "◁/think▷",
    "[THINK]": "[/THINK]",
}
_LONE = [close for close in _TAGS.values() if close[0] in "<◁"]  # those of models whose prompt has the opening tag
_LONE_TAG = re.compile("|".join(map(re.escape, _LONE)))
_SENTENCE_ENDS = (".", "!", "?", "…", "。", ":", ")")
_MAX_BLANK = 4096  # characters of white space before a tag


class ThinkingTags:
    """Splits an answer into reasoning and text, even if a tag is split.

    It begins with `<think>…</think>`, or has only the closing tag: then all before it, which was already returned as
    text, was a thought, and a `ThoughtEndPart` says so. Tags in code are text.
    """

    # start → opened (skip newlines after the tag) → thinking → closed (skip newlines) → plain
    # start → text (until a lone closing tag) → closed → plain
    def __init__(self) -> None:
        self._state = "start"
        self._held = ""
        self._close = ""
        self._last = ""  # character of the thought
        self._code = _Code()

    def feed(self, text: str) -> list[Part]:
        """Return the parts that `text` completes, the same however the answer is split."""
        if (
            self._state == "text"
            and not self._held
            and (("<" not in text and "◁" not in text) or not _may_have_tag(text))
        ):
            self._code.pieces.append(text)
            return [TextPart(text)]
        if self._state == "plain":
            return [TextPart(text)]
        self._held += text
        parts: list[Part] = []
        if self._state == "start":
            self._begin()
        if self._state in ("opened", "thinking"):
            parts += self._think()
        if self._state == "text":
            parts += self._scan()
        if self._state == "closed":
            self._held = self._held.lstrip("\n")
            if self._held:
                self._state = "plain"
                parts += self.end()
        return parts

    def _begin(self) -> None:
        begin = self._held.lstrip()
        for opening, close in _TAGS.items():
            if begin.startswith(opening):
                self._state, self._close, self._held = "opened", close, begin[len(opening) :]
                return
        if len(self._held) > _MAX_BLANK or not any(opening.startswith(begin) for opening in _TAGS):
            self._state = "text"

    def _think(self) -> list[Part]:
        if self._state == "opened":
            self._held = self._held.lstrip("\n")
            if self._held:
                self._state = "thinking"
        thought = ""
        while True:
            before, close, rest = self._held.partition(self._close)
            thought += before
            if not close:
                break
            if (thought or self._last)[-1:] != "`":  # else the thought is about the tag
                self._state, self._held = "closed", rest
                return [ReasoningPart(thought)] if thought else []
            thought += close
            self._held = rest
        keep = len(thought) - _partial_tag_length(thought, [self._close])
        thought, self._held = thought[:keep], thought[keep:]
        self._last = thought[-1:] or self._last
        return [ReasoningPart(thought)] if thought else []

    def _scan(self) -> list[Part]:
        """Look for a closing tag that is not in code, nor in the middle of a sentence that is about it."""
        text = ""
        while True:
            match = _LONE_TAG.search(self._held)
            if match is None:
                keep = len(self._held) - _partial_tag_length(self._held, _LONE)
                break
            place, rest = match.start(), self._held[match.end() :]
            if not rest.strip(" \t") and len(rest) < _MAX_BLANK:
                keep = place  # what follows decides
                break
            text += self._take_text(place)
            if self._code.may_end_thought(rest.lstrip(" \t").startswith("\n")):
                return [*_texts(text), *self._end_thought(rest)]
            text += self._take_text(match.end() - place)
        text += self._take_text(keep)
        return _texts(text)

    def _take_text(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        self._code.pieces.append(text)
        return text

    def _end_thought(self, rest: str) -> list[Part]:
        self._state, self._held = "closed", rest.lstrip(" \t")
        return [ThoughtEndPart()]

    def end(self) -> list[Part]:
        """Return the text that was held back for a tag."""
        held = self._held
        if self._state == "text" and held.rstrip() in _LONE and self._code.may_end_thought(is_end_of_line=True):
            return self._end_thought("")
        self._held = ""
        self._code.pieces.append(held)
        return [ReasoningPart(held)] if held and self._state == "thinking" else _texts(held)


def _texts(text: str) -> list[Part]:
    return [TextPart(text)] if text else []


class _Code:
    """Where a text ends: in code, which is a fence or a span of backticks, or in a line. Reads `pieces` when asked."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._fence = ""
        self._line = ""  # the beginning of the last line
        self._ticks = 0  # of the last line
        self._last = ""  # character

    def may_end_thought(self, is_end_of_line: bool) -> bool:
        """Whether a closing tag here can be one: outside of code, on a line of its own, or after a sentence."""
        text = "".join(self.pieces)
        self.pieces.clear()
        *lines, last = text.split("\n")
        for line in lines:
            self._extend_line(line)
            self._finish_line()
        self._extend_line(last)
        self._last = text[-1:] or self._last
        if self._fence or self._ticks % 2 == 1:
            return False
        return is_end_of_line or not self._line or self._last in _SENTENCE_ENDS

    def _extend_line(self, text: str) -> None:
        if len(self._line) < 3:
            self._line = (self._line + text).lstrip()[:3]
        self._ticks += text.count("`")

    def _finish_line(self) -> None:
        is_fence = self._line == "~~~" or (self._line == "```" and self._ticks < 6)
        if is_fence and self._fence in ("", self._line):
            self._fence = "" if self._fence else self._line
        self._line, self._ticks = "", 0


def _may_have_tag(text: str) -> bool:
    """Whether a closing tag, or its beginning, may be in the text."""
    return ("<" in text and ("</" in text or text[-1] == "<")) or "◁" in text


def _partial_tag_length(text: str, tags: list[str]) -> int:
    """Return how many characters at the end of `text` may begin one of the tags."""
    place = max(text.rfind(first) for first in {tag[0] for tag in tags})
    end = text[place:] if place >= 0 else ""
    return len(end) if end and any(tag.startswith(end) for tag in tags) else 0

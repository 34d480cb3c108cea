"""Convert HTML into text for a model: headings (`##`), items (`-`), cells (`|`), links as `text (address)`.

Written for hostile pages: it parses a stream without a tree and stops at `max_characters`. On pages of 5 MiB made of
one repeated tag or attribute (23 kinds, 2026-11-30) it takes 1.5 s and 52 MiB at most. The libraries do not stay within
such bounds:

- inscriptis 2.7.6: over 30 s for `<br>`, for links and for `hidden` elements.
- html-text 0.7.1: over 30 s for `<br>`; 4.6 s and 356 MiB for `<p>`.
- trafilatura 2.3.1: over 30 s for `<p>`, `<br>`, links and `hidden` elements.
- resiliparse 2.0.1: 340 to 510 MiB for unclosed tags, and over 30 s for `<a><b><i>` or for a tag with 600,000
  attributes. It also shows `hidden` elements.

The conversion runs in a thread, which no time-out can stop.
"""

import re
from collections.abc import Mapping
from urllib.parse import urljoin

from lxml import etree

_CHUNK = 1 << 16  # characters that the parser gets at a time
_MAX_ELEMENTS = 200_000  # about a second of work
_MAX_TITLE = 300
_MAX_LINK = 2000
_MAX_LIST_DEPTH = 8
_SKIPPED = frozenset(
    ("script", "style", "template", "noscript", "svg", "iframe", "object", "canvas", "audio", "video", "select")
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_PARAGRAPHS = frozenset(
    ("p", "blockquote", "pre", "ul", "ol", "dl", "table", "figure", "form", "section", "article", "hr", *_HEADINGS)
)
_LINES = frozenset(
    ("div", "li", "dt", "dd", "tr", "main", "header", "footer", "nav", "aside", "address", "fieldset", "figcaption",
     "caption", "details", "summary", "body")
)  # fmt: skip
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def html_to_text(html: str, *, url: str, max_characters: int) -> str:
    """Return the visible text of the page, its title first; not much longer than `max_characters`."""
    reader = _Reader(url)
    parser = etree.HTMLParser(target=reader, encoding="utf-8")
    try:
        for start in range(0, len(html), _CHUNK):
            parser.feed(html[start : start + _CHUNK].encode())
            if reader.size > max_characters or reader.elements > _MAX_ELEMENTS:
                break
        parser.close()
    except etree.LxmlError:
        pass  # keep what was read before
    return reader.text()


class _Reader:
    """The parser's target: gets tags and texts, and writes the visible text with little white space."""

    def __init__(self, url: str) -> None:
        self.size = 0  # characters written
        self.elements = 0
        self._base = url
        self._title = ""
        self._in_title = False
        self._skipping = 0  # open elements, from the first skipped one on
        self._pre = 0
        self._lists = 0
        self._cells = 0  # of this row
        self._links: list[tuple[str, int]] = []  # reference, and where its text begins
        self._after_link = 0  # pieces at the end of the last link: separate two links by a space
        self._pieces: list[str] = []
        self._breaks = 0  # before the next text
        self._gap = False  # a space before the next text
        self._mark = ""  # of a heading or an item, before its text

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.elements += 1
        if self._skipping or tag in _SKIPPED or (tag not in ("html", "body") and _is_hidden(attributes)):
            self._skipping += 1
        else:
            self._break(self._lines_around(tag))
            self._mark = _HEADINGS.get(tag, self._mark)
            self._open(tag, attributes)

    def _open(self, tag: str, attributes: Mapping[str, str]) -> None:
        match tag:
            case "title":
                self._in_title = not self._title
            case "base":
                self._base = self._address(attributes.get("href", "")) or self._base
            case "a":
                self._gap = self._gap or len(self._pieces) == self._after_link
                self._links.append((attributes.get("href", ""), len(self._pieces)))
            case "img":
                if alternative := " ".join(attributes.get("alt", "").split()):
                    self._write(f"[image: {alternative}]")
            case "br":
                self._breaks = min(self._breaks + 1, 2)
            case "li":
                self._mark = "  " * min(max(self._lists - 1, 0), _MAX_LIST_DEPTH) + "- "
            case "ul" | "ol":
                self._lists += 1
            case "pre":
                self._pre += 1
            case "tr":
                self._cells = 0
            case "td" | "th":
                self._next_cell()

    def _next_cell(self) -> None:
        if self._cells:
            self._breaks, self._gap = 0, True
            self._write("|")
            self._gap = True
        self._cells += 1

    def end(self, tag: str) -> None:
        if self._skipping:
            self._skipping -= 1
            return
        match tag:
            case "title":
                self._in_title = False
            case "a" if self._links:
                self._close_link()
            case "ul" | "ol":
                self._lists -= 1
            case "pre":
                self._pre -= 1
        if tag == "li" or tag in _HEADINGS:
            self._mark = ""  # the element is empty
        self._break(self._lines_around(tag))

    def _close_link(self) -> None:
        reference, begin = self._links.pop()
        if len(self._pieces) == begin:
            return
        address = self._address(reference)
        if address and self._pieces[-1] != address:
            self._append(f" ({address})")  # to the text, not after the breaks that follow it
            self._after_link = len(self._pieces)

    def data(self, text: str) -> None:
        if self._skipping:
            return
        if self._in_title:
            self._title = (self._title + text)[:_MAX_TITLE]
        elif self._pre:
            self._write_preformatted(text)
        else:
            self._write_words(text)

    def comment(self, text: str) -> None:
        """Skip comments."""

    def close(self) -> None:
        """Required by lxml."""

    def text(self) -> str:
        title = " ".join(self._title.split())
        return (f"Title: {title}\n\n" if title else "") + "".join(self._pieces)

    def _write_words(self, text: str) -> None:
        self._gap = self._gap or text[:1].isspace()
        if words := " ".join(text.split()):
            self._write(words)
            self._gap = text[-1:].isspace()

    def _write_preformatted(self, text: str) -> None:
        lines = text.rstrip("\n")
        if lines:
            self._write(lines)
        self._breaks += len(text) - len(lines)

    def _write(self, text: str) -> None:
        if self._pieces:
            self._append("\n" * self._breaks or " " * self._gap)
        if self._mark:
            self._append(self._mark)
        self._append(text)
        self._breaks, self._gap, self._mark = 0, False, ""

    def _append(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self.size += len(text)

    def _lines_around(self, tag: str) -> int:
        if tag in _LINES or (self._lists and tag in ("ul", "ol")):
            return 1
        return 2 if tag in _PARAGRAPHS else 0

    def _break(self, lines: int) -> None:
        self._breaks = max(self._breaks, lines)

    def _address(self, reference: str) -> str:
        """Return the absolute http or mailto URL of a link; empty if it has none."""
        reference = reference.strip()
        if not reference or reference.startswith("#"):
            return ""
        try:
            address = urljoin(self._base, reference)
        except ValueError:
            return ""
        is_usable = len(address) <= _MAX_LINK and address.startswith(("http://", "https://", "mailto:"))
        return address if is_usable else ""


def _is_hidden(attributes: Mapping[str, str]) -> bool:
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or bool(_INVISIBLE.search(attributes.get("style", "")))
    )

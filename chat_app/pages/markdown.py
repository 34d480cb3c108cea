"""Render a model's Markdown as HTML: markdown-it-py renders it, nh3 sanitizes the result.

The text is a stranger's: its length and its links are bounded, since finding links in plain text takes quadratic time
(50,000 characters of "://" took 25 s), and each text is rendered once.
"""

import functools
import re
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

LONGEST_TEXT = 50_000  # characters; a longer text stays plain
MOST_BRACKETS = 2000  # a text with more stays plain: each may open a link, which takes quadratic time too
MOST_PLAIN_LINKS = 200  # addresses in plain text; beyond this number none of them becomes a link
_CACHED_TEXTS = 256
_LINK_SIGNS = re.compile(r"://|@|www\.|\.\w", re.IGNORECASE)
SCHEMES = {"http", "https", "mailto"}
TAGS = {
    "span",
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code", "em", "strong", "s", "a"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "code": {"class"}}
_ALIGNED = {"left", "right", "center"}  # of a table's columns; said by a class, as pages allow no inline styles
_LINK = re.compile(rf"(?:{'|'.join(sorted(SCHEMES))}):", re.IGNORECASE)
_TITLES_BEGIN_AT = 3  # the page has h1 and h2 of its own


@functools.lru_cache(maxsize=_CACHED_TEXTS)
def to_html(text: str) -> str | None:
    """Return the text as HTML, or None if it is too long.

    Images become links: fetching one would reveal who reads, and when. A link whose text looks like an address of
    another host is followed by the host that it leads to.
    """
    if len(text) > LONGEST_TEXT or text.count("[") > MOST_BRACKETS:
        return None
    parser = _parser if _has_few_links(text) else _parser_without_linkify
    tokens = parser.parse(text)
    _lower_titles([token for token in tokens if token.type in ("heading_open", "heading_close")])
    for token in tokens:
        if token.type in ("th_open", "td_open") and (style := token.attrs.pop("style", "")):
            token.attrs["class"] = str(style).removeprefix("text-align:")
        for inner in token.children or []:
            if inner.type == "image":
                inner.type = "image_link"
        if token.children:
            token.children = _with_hosts(token.children)
    return nh3.clean(
        parser.renderer.render(tokens, parser.options, {}),
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        tag_attribute_values={"th": {"class": _ALIGNED}, "td": {"class": _ALIGNED}, "span": {"class": {"host"}}},
    )


def _has_few_links(text: str) -> bool:
    """Return whether `text` is cheap to search for plain addresses."""
    return all(count < MOST_PLAIN_LINKS for count, _ in enumerate(_LINK_SIGNS.finditer(text)))


def _lower_titles(tokens: list[Token]) -> None:
    """Make the highest heading of the text an h3."""
    levels = [int(token.tag[1:]) for token in tokens]
    highest = min(levels, default=1)
    for token, level in zip(tokens, levels, strict=True):
        token.tag = f"h{min(6, level - highest + _TITLES_BEGIN_AT)}"


def _with_hosts(tokens: list[Token]) -> list[Token]:
    """Return the tokens of a paragraph with the host after each link whose text suggests another one."""
    shown: list[Token] = []
    start = 0
    for token in tokens:
        shown.append(token)
        if token.type == "link_open":
            start = len(shown)
        elif token.type == "link_close":
            link = shown[start - 1]
            host = urlsplit(str(link.attrs.get("href", ""))).netloc.rpartition("@")[2]
            words = "".join(inner.content for inner in shown[start:-1])
            if host and _suggests_another_host(words, host):
                shown.append(Token("host", "span", 0, content=host))
    return shown


_HOST = re.compile(r"(?:[\w-]{1,63}\.)+[a-z]{2,63}|://", re.IGNORECASE)


def _suggests_another_host(words: str, host: str) -> bool:
    """Return whether the text of a link looks like an address that does not start with `host`."""
    text = words.strip().lower()
    text = re.sub(r"^[a-z][a-z0-9+.-]*://", "", text)
    starts_there = text == host.lower() or text.startswith((f"{host.lower()}/", f"{host.lower()}?", f"{host.lower()}#"))
    return not starts_there and bool(_HOST.search(words))


def _host(renderer, tokens: list[Token], at: int, options, env) -> str:
    return f' <span class="host">({nh3.clean_text(tokens[at].content)})</span>'


def _image_link(renderer, tokens: list[Token], at: int, options, env) -> str:
    token = tokens[at]
    words = renderer.renderInlineAsText(token.children or [], options, env)
    source = str(token.attrs["src"])
    escape = nh3.clean_text
    host = urlsplit(source).netloc.rpartition("@")[2]
    leads_to = f' <span class="host">({escape(host)})</span>' if host and _suggests_another_host(words, host) else ""
    return f'<a href="{escape(source)}">{escape(words or source)}</a>{leads_to}'


def _build(*, linkify: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": linkify, "breaks": True}).enable(
        ["table", "strikethrough", *(["linkify"] if linkify else [])]
    )
    parser.validateLink = lambda url: bool(_LINK.match(url.strip()))  # type: ignore[method-assign]
    parser.add_render_rule("image_link", _image_link)
    parser.add_render_rule("host", _host)
    return parser


_parser = _build(linkify=True)
_parser_without_linkify = _build(linkify=False)

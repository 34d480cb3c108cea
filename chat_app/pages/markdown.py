"""What a model wrote, as HTML that may be shown: rendered by markdown-it-py, then cleaned by nh3 all the same."""

import re

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

LONGEST_TEXT = 50_000  # characters; what is longer stays plain text
SCHEMES = {"http", "https", "mailto"}
TAGS = {
    *("p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code", "em", "strong", "s", "a"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "code": {"class"}}
_ALIGNED = {"left", "right", "center"}  # of a table's columns; said by a class, as pages allow no inline styles
_LINK = re.compile(rf"(?:{'|'.join(sorted(SCHEMES))}):", re.IGNORECASE)
_TITLES_BEGIN_AT = 3  # the page has h1 and h2 of its own


def to_html(text: str) -> str | None:
    """The text as HTML; None where it is too long. Images become links: to fetch one would tell who reads, and when."""
    if len(text) > LONGEST_TEXT:
        return None
    tokens = _parser.parse(text)
    _lower_titles([token for token in tokens if token.type in ("heading_open", "heading_close")])
    for token in tokens:
        if token.type in ("th_open", "td_open") and (style := token.attrs.pop("style", "")):
            token.attrs["class"] = str(style).removeprefix("text-align:")
        for inner in token.children or []:
            if inner.type == "image":
                inner.type = "image_link"
    return nh3.clean(
        _parser.renderer.render(tokens, _parser.options, {}),
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        tag_attribute_values={"th": {"class": _ALIGNED}, "td": {"class": _ALIGNED}},
    )


def _lower_titles(tokens: list[Token]) -> None:
    """The highest that the text has becomes h3."""
    levels = [int(token.tag[1:]) for token in tokens]
    for token, level in zip(tokens, levels, strict=True):
        token.tag = f"h{min(6, level - min(levels) + _TITLES_BEGIN_AT)}"


def _image_link(renderer, tokens: list[Token], at: int, options, env) -> str:
    token = tokens[at]
    words = renderer.renderInlineAsText(token.children or [], options, env)
    source = str(token.attrs["src"])
    escape = nh3.clean_text
    return f'<a href="{escape(source)}">{escape(words or source)}</a>'


def _build() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": True, "breaks": True}).enable(
        ["table", "strikethrough", "linkify"]
    )
    parser.validateLink = lambda url: bool(_LINK.match(url.strip()))  # type: ignore[method-assign]
    parser.add_render_rule("image_link", _image_link)
    return parser


_parser = _build()

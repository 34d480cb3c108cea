"""Markdown to HTML. The text is a stranger's: its length, its links and the CPU time that it takes are bounded, and
each text is rendered once.
"""

import functools

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

from chat_app.pages.markdown import budget, code, extras, formulas, links

LONGEST_TEXT = 50_000  # characters; a longer text is rendered by its blocks, or stays plain
MOST_BRACKETS = 2000  # a text with more stays plain: each may open a link, which takes quadratic time
_CACHED_TEXTS = 128
_CACHED_BLOCKS = 1024
TAGS = {
    *("span", "div", "sup", "p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code"),
    *("em", "strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td"),
    *formulas.TAGS,
}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "code": {"class"}, **formulas.ATTRIBUTES}
_ALIGNED = {"left", "right", "center"}  # of a table's columns; said by a class, as pages allow no inline styles
_CLASSES = {
    "th": _ALIGNED,
    "td": _ALIGNED,
    "div": {"code", "code-head", "formula", "table"},
    "span": {"host", "language", "task", "done", *code.CLASSES},
    "sup": {"footnote"},
    "ol": {"footnotes"},
    "li": {"task-item"},
}
_TITLES_BEGIN_AT = 3  # the page has h1 and h2 of its own


@functools.lru_cache(maxsize=_CACHED_TEXTS)
def to_html(text: str) -> str | None:
    """Return a whole text as HTML, or None if it is too long or takes too long."""
    return _render(text, 0, has_footnotes=True)


@functools.lru_cache(maxsize=_CACHED_BLOCKS)
def block_to_html(text: str, first_title: int) -> str | None:
    """Return one block of a text as HTML. `first_title` is the level of the first heading before it, 0 for none.

    Footnotes stay as they are written: what they refer to is in another block.
    """
    return _render(text, first_title, has_footnotes=False)


def _render(text: str, first_title: int, *, has_footnotes: bool) -> str | None:
    if len(text) > LONGEST_TEXT or text.count("[") > MOST_BRACKETS:
        return None
    parser = _parser(linkify=links.has_few_links(text), footnotes=has_footnotes)
    environment = budget.new_environment()
    try:
        tokens = parser.parse(text, environment)
        _lower_titles(tokens, first_title)
        for token in tokens:
            if token.type in ("th_open", "td_open") and (style := token.attrs.pop("style", "")):
                token.attrs["class"] = str(style).removeprefix("text-align:")
            if token.children:
                token.children = links.prepare(token.children)
        return _clean(parser.renderer.render(tokens, parser.options, environment))
    except (budget.TooExpensive, RecursionError):
        return None


def _clean(html: str) -> str:
    return nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        allowed_classes=_CLASSES,
        url_schemes=links.SCHEMES,
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _lower_titles(tokens: list[Token], first_title: int) -> None:
    """Make the first heading of the text an h3, and those below it smaller: what follows later changes none of them."""
    titles = [token for token in tokens if token.type in ("heading_open", "heading_close")]
    first = first_title or (int(titles[0].tag[1:]) if titles else 1)
    for token in titles:
        level = int(token.tag[1:]) - first + _TITLES_BEGIN_AT
        token.tag = f"h{max(_TITLES_BEGIN_AT, min(6, level))}"


@functools.cache
def _parser(*, linkify: bool, footnotes: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": linkify, "breaks": True}).enable(
        ["table", "strikethrough", *(["linkify"] if linkify else [])]
    )
    parser.validateLink = links.is_allowed  # type: ignore[method-assign]
    formulas.add_formulas(parser)
    extras.add_tasks(parser)
    if footnotes:
        extras.add_footnotes(parser)
    parser.block.ruler.before("table", "budget", budget.check_in_rule, {"alt": ["paragraph", "blockquote"]})
    parser.inline.ruler.before("text", "budget", budget.check_in_rule)
    for rules in (links.RENDER_RULES, code.RENDER_RULES, formulas.RENDER_RULES, extras.RENDER_RULES):
        for name, rule in rules.items():
            parser.add_render_rule(name, rule)
    return parser

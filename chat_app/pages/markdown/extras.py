"""Task lists, footnotes and tables of Markdown. None of them gets an id: a page has those of many texts."""

import re
from collections.abc import Callable
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.footnote import footnote_plugin

_TASK = re.compile(r"\[([ xX])\]\s+")


def add_footnotes(parser: MarkdownIt) -> None:
    """Have the parser number footnotes and put their texts at the end."""
    footnote_plugin(parser, inline=False)


def add_tasks(parser: MarkdownIt) -> None:
    """Have the parser find the boxes of task lists."""
    parser.core.ruler.after("inline", "tasks", _mark_tasks)


def _mark_tasks(state: StateCore) -> None:
    """Make `[x] ` at the start of a list's item a box."""
    for item, paragraph, inline in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if item.type != "list_item_open" or paragraph.type != "paragraph_open" or not inline.children:
            continue
        first = inline.children[0]
        if first.type == "text" and (box := _TASK.match(first.content)):
            first.content = first.content[box.end() :]
            inline.children.insert(0, Token("task", "span", 0, content=box[1].lower()))
            item.attrSet("class", "task-item")


def _render_task(renderer: Any, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    """Return the box: what it says is for those who hear it, or copy it."""
    mark = tokens[at].content
    return f'<span class="{"task done" if mark == "x" else "task"}">[{mark}] </span>'


def _render_reference(renderer: Any, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    return f'<sup class="footnote">{tokens[at].meta["id"] + 1}</sup>'


def _html(html: str) -> Callable[..., str]:
    return lambda renderer, tokens, at, options, env: html


RENDER_RULES: dict[str, Callable[..., str]] = {
    "task": _render_task,
    "footnote_ref": _render_reference,
    "footnote_block_open": _html('<ol class="footnotes">\n'),
    "footnote_block_close": _html("</ol>\n"),
    "footnote_open": _html("<li>"),
    "footnote_close": _html("</li>\n"),
    "footnote_anchor": _html(""),
    "table_open": _html('<div class="table"><table>\n'),
    "table_close": _html("</table></div>\n"),
}

"""Code of Markdown: its language above it, and its words in classes that the pages have colors for.

Pygments finds the words. A lexer's regular expressions may take long on lines that nobody writes by hand, and cannot
be interrupted within one: languages, length and lines are bounded, and the clock is looked at after each word.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from pygments import token as kinds
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name

from chat_app.pages.markdown import budget

LONGEST_CODE = 20_000  # characters; longer code has no colors
LONGEST_LINE = 1000
_LONGEST_NAME = 30
_NAMES = """
    bash sh shell zsh console powershell bat python py python3 pycon javascript js jsx typescript ts tsx json json5
    jsonc html xml svg css scss less java kotlin scala groovy c h cpp c++ csharp cs c# go golang rust rs swift
    objective-c objc php ruby rb perl lua r julia dart elixir erlang haskell clojure ocaml fsharp sql postgresql
    mysql sqlite3 graphql yaml yml toml ini cfg properties dotenv docker dockerfile make makefile cmake nginx apache
    terraform hcl diff patch markdown md tex latex http protobuf proto vim awk sed jinja django nix zig
"""
LANGUAGES = frozenset(_NAMES.split())
# The first of these that a word's kind is in says its class.
_CLASSES: tuple[tuple[Any, str], ...] = (
    (kinds.Comment, "c"),
    (kinds.Keyword, "k"),
    (kinds.Operator.Word, "k"),
    (kinds.String, "s"),
    (kinds.Number, "n"),
    (kinds.Name.Function, "f"),
    (kinds.Name.Class, "f"),
    (kinds.Name.Decorator, "f"),
    (kinds.Name.Builtin, "b"),
    (kinds.Name.Tag, "k"),
    (kinds.Name.Attribute, "b"),
    (kinds.Name.Constant, "n"),
    (kinds.Generic.Inserted, "i"),
    (kinds.Generic.Deleted, "d"),
    (kinds.Generic.Heading, "f"),
    (kinds.Generic.Subheading, "f"),
)
CLASSES = {f"c-{name}" for _, name in _CLASSES}


def render_code(renderer, tokens: list[Token], at: int, options, env) -> str:
    """Return the HTML of a block of code; that of a line in a list has no language."""
    token = tokens[at]
    language = _language(token.info)
    named = f' class="language-{escapeHtml(language)}"' if language else ""
    return (
        f'<div class="code"><div class="code-head"><span class="language">{escapeHtml(language)}</span></div>'
        f"<pre><code{named}>{''.join(_words(token.content, language, budget.of(env)))}</code></pre></div>\n"
    )


RENDER_RULES: dict[str, Callable[..., str]] = {"fence": render_code, "code_block": render_code}


def _language(info: str) -> str:
    return (info.split() or [""])[0][:_LONGEST_NAME]


def _words(text: str, language: str, limit: budget.Budget) -> Iterator[str]:
    """Yield the code as HTML: neighbors of the same class together."""
    lexer = _lexer(language.lower()) if _is_short(text) else None
    if lexer is None:
        yield escapeHtml(text)
        return
    shown = 0
    name, words = "", ""
    for kind, value in lexer.get_tokens(text):
        limit.check()
        if (class_name := _class_of(kind)) != name:
            yield _span(name, words)
            name, words = class_name, ""
        words += value
        shown += len(value)
    yield _span(name, words)
    yield escapeHtml(text[shown:])


def _is_short(text: str) -> bool:
    return len(text) <= LONGEST_CODE and all(len(line) <= LONGEST_LINE for line in text.split("\n"))


def _span(name: str, words: str) -> str:
    return f'<span class="c-{name}">{escapeHtml(words)}</span>' if name and words.strip() else escapeHtml(words)


@functools.cache
def _class_of(kind: Any) -> str:
    return next((name for parent, name in _CLASSES if kind in parent), "")


@functools.cache
def _lexer(language: str) -> Lexer | None:
    """Return the lexer of one of our languages. `language` is a stranger's: no lexer is looked for by another name."""
    if language not in LANGUAGES:
        return None
    return get_lexer_by_name(_ALIASES.get(language, language), stripnl=False, ensurenl=False)


# The lexers of sessions read all lines before the first word: there is no moment to look at the clock.
_ALIASES = {
    "console": "bash",
    "pycon": "python",
    "jsonc": "json",
    "json5": "json",
    "dotenv": "bash",
    "h": "c",
    "svg": "xml",
    "patch": "diff",
}

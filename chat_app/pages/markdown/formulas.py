r"""Formulas in TeX as MathML: `$a$`, `$$a$$`, `\(a\)`, `\[a\]`. One that cannot be converted shows its source."""

from collections.abc import Callable
from typing import Any

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

from chat_app.pages.markdown import budget

LONGEST_FORMULA = 2000  # characters
TAGS = {
    *("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle", "mpadded", "mphantom"),
    *(
        "msub",
        "msup",
        "msubsup",
        "munder",
        "mover",
        "munderover",
        "mmultiscripts",
        "mprescripts",
        "mtable",
        "mtr",
        "mtd",
    ),
}
ATTRIBUTES = {
    "math": {"display"},
    "mi": {"mathvariant"},
    "mo": {"stretchy", "fence", "form", "separator", "lspace", "rspace", "minsize", "maxsize", "accent"},
    "mspace": {"width"},
    "mfrac": {"linethickness"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mtable": {"columnalign", "rowspacing", "columnspacing"},
    "mover": {"accent"},
    "munder": {"accentunder"},
}


def add_formulas(parser: MarkdownIt) -> None:
    """Have the parser find formulas: a `$` that is money stays one."""
    dollarmath_plugin(
        parser, allow_labels=False, allow_space=False, allow_digits=False, allow_blank_lines=False, double_inline=True
    )
    parser.inline.ruler.before("escape", "math_brackets", _brackets)
    parser.block.ruler.before("fence", "math_bracket_block", _bracket_block, {"alt": ["paragraph"]})


def _brackets(state: StateInline, silent: bool) -> bool:
    r"""The rule of `\(a\)` and `\[a\]` within a paragraph."""
    start = state.src[state.pos : state.pos + 2]
    if start not in (r"\(", r"\["):
        return False
    end = state.src.find(r"\)" if start == r"\(" else r"\]", state.pos + 2, state.pos + 4 + LONGEST_FORMULA)
    if end == -1 or end + 2 > state.posMax:
        return False
    if not silent:
        token = state.push("math_inline" if start == r"\(" else "math_inline_double", "math", 0)
        token.content = state.src[state.pos + 2 : end]
        token.markup = start
    state.pos = end + 2
    return True


def _bracket_block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    r"""The rule of lines between `\[` and `\]`: without it, a `+` or `=` at their start makes a list or a heading."""
    first = state.bMarks[start_line] + state.tShift[start_line]
    if state.src[first : first + 2] != r"\[" or state.is_code_block(start_line):
        return False
    for line in range(start_line, end_line):
        end = state.eMarks[line]
        if end - first > LONGEST_FORMULA or state.isEmpty(line):
            return False
        if state.src[:end].endswith(r"\]") if end - first < 4 else state.src[end - 2 : end] == r"\]":
            break
    else:
        return False
    if not silent:
        token = state.push("math_block", "math", 0)
        token.block = True
        token.content = state.src[first + 2 : state.eMarks[line] - 2]
        token.markup = r"\["
        token.map = [start_line, line + 1]
    state.line = line + 1
    return True


def _render(display: str) -> Callable[..., str]:
    def render(renderer: Any, tokens: list[Token], at: int, options: Any, env: Any) -> str:
        token = tokens[at]
        formula = _to_mathml(token.content.strip(), display, budget.of(env)) or _source(token)
        return f'<div class="formula">{formula}</div>\n' if token.block else formula

    return render


RENDER_RULES: dict[str, Callable[..., str]] = {
    "math_inline": _render("inline"),
    "math_inline_double": _render("block"),
    "math_block": _render("block"),
}


def _to_mathml(source: str, display: str, limit: budget.Budget) -> str:
    """Return the formula as MathML; nothing if it is not one."""
    if len(source) > LONGEST_FORMULA:
        return ""
    if limit.is_spent:
        raise budget.TooExpensive
    try:
        return convert(source, display=display)
    except Exception:  # the converter's own errors, and whatever a stranger's TeX makes its code stumble over
        return ""


_CLOSING = {r"\(": r"\)", r"\[": r"\]"}


def _source(token: Token) -> str:
    return f"<code>{escapeHtml(token.markup + token.content + _CLOSING.get(token.markup, token.markup))}</code>"

"""Rendering a stranger's Markdown: what it may cost, and where its links lead."""

import re
import time

import pytest

from chat_app.pages.markdown import LONGEST_TEXT, to_html
from chat_app.pages.markdown.code import LANGUAGES

# Each of these took from 0.2 to 25 seconds of CPU, or is of the same kind.
COSTLY = [
    *("http://a ", "://", "a.bc/", "a@b.cd ", "www.a.bc ", "[", "![", "[a](", "[a]: b\n", "[^1]", "[^a]:", "[^1]: a\n"),
    *("# a\n", "a\n", "> ", "- ", "1. a\n", "* a\n ", "\n> > > > - a", "|a|\n|-|\n", "|a|b|c|\n", "|-", "- [x] "),
    *("*", "**a_ ", "_a_", "a*b_c~~d`e", "`", "``a`", "~~~\n", "```py\nx=1\n```\n", "<a", "<", "&", "\\", " \t"),
    *("$", "$a ", "\\(", "\\[\n", "$$\n", "$\\frac{a}{b}$ ", "```python\n" + "x = [1, 'a']  # c\n" * 2600),
    *("```console\n" + "a::" * 333 + "\n", "```pycon\n" + ">>> a::" * 100 + "\n"),
]
MOST_SECONDS = 0.5  # of CPU, each: a bound for busy machines; measured are at most 0.21


def test_no_text_takes_long_to_render():
    to_html("Once: $a$\n```python\nx\n```")  # what is made at its first use
    took = {}
    for part in COSTLY:
        text = (part * (LONGEST_TEXT // len(part) + 1))[:LONGEST_TEXT]
        began = time.thread_time()
        to_html(text)
        took[part[:20]] = time.thread_time() - began

    assert {part: seconds for part, seconds in took.items() if seconds > MOST_SECONDS} == {}


@pytest.mark.parametrize(("text", "expected"), [
    ("$5 and $6", "$5 and $6"),
    (r"\(a", "(a"),
    (r"\( \frac{a \)", "<math"),
    (r"$\begin{nothing}x$", "<code>$"),
    (f"${'{' * 1900}$", "<code>$"),
    (f"\\({'x' * 2001}\\)", "xxx"),
])  # fmt: skip
def test_a_formula_that_is_none_shows_its_source(text, expected):
    assert expected in (to_html(text) or "")


def test_code_keeps_its_text_whatever_its_language():
    for language in (*LANGUAGES, "nothing", "python'\"<b>", ""):
        code = "\n\n  x = '<b>' # é\n\n"
        html = to_html(f"```{language}\n{code}```") or ""
        assert (
            re.sub("<[^>]*>", "", html.partition("<code")[2].partition(">")[2]).strip("\n") == "  x = '&lt;b&gt;' # é"
        )


def test_a_text_is_rendered_once():
    before = to_html.cache_info().hits

    assert to_html("Rendered *once*.") == to_html("Rendered *once*.")
    assert to_html.cache_info().hits > before


def test_many_plain_addresses_stay_text_and_few_become_links():
    assert "<a " in (to_html("See http://a.example/ and http://b.example/.") or "")
    assert "<a " not in (to_html("http://a.example/ " * 300) or "")
    assert '<a href="http://a.example/"' in (to_html("[a](http://a.example/) " + "http://b.example/ " * 300) or "")
    assert to_html("x" * (LONGEST_TEXT + 1)) is None


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("[https://bank.example](https://evil.test/x)", "evil.test"),
        ("[www.bank.example/login](http://evil.test)", "evil.test"),
        ("[**bank**.example](http://evil.test)", "evil.test"),
        ("[https://bank.example](https://bank.example@evil.test/)", "evil.test"),
        ("![https://bank.example](http://evil.test/i.png)", "evil.test"),
        ("[bank.example](https://bank.example.evil.test/)", "bank.example.evil.test"),
    ],
)
def test_a_link_that_looks_like_another_address_says_where_it_leads(text, host):
    assert f'<span class="host">({host})</span>' in (to_html(text) or "")


@pytest.mark.parametrize(
    "text",
    [
        "[docs](https://example.com/a)",
        "https://example.com/a",
        "[example.com/a](https://example.com/a)",
        "<https://a.example>",
    ],
)
def test_an_honest_link_stays_as_it_is(text):
    assert "host" not in (to_html(text) or "")

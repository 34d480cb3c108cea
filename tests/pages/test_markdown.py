"""Rendering a stranger's Markdown: what it may cost, and where its links lead."""

import resource
import subprocess
import sys

import pytest

from chat_app.pages.markdown import LONGEST_TEXT, to_html
from tests.harness.paths import ROOT

# Each of these took from 6 to 25 seconds of CPU, or is of the same kind.
COSTLY = [
    "http://a ",
    "://",
    "a.bc/",
    "a@b.cd ",
    "www.a.bc ",
    "# a\n",
    "[",
    "![",
    "[a](",
    "[a]: b\n",
    "**a_ ",
    "|a|\n|-|\n",
]
CPU_SECONDS = 20  # of all together; a bound that kills, not a measure


def test_no_text_takes_long_to_render():
    script = (
        "import sys; from chat_app.pages.markdown import LONGEST_TEXT, to_html\n"
        f"for part in {COSTLY!r}: to_html((part * (LONGEST_TEXT // len(part) + 1))[:LONGEST_TEXT])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS)),
        check=False,
    )

    assert done.returncode == 0


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

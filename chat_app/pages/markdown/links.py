"""Links of Markdown: which may be, how many are looked for, and the host that one leads to.

Finding links in plain text takes quadratic time (50,000 characters of "://" took 25 s), so it is done only where there
are few signs of one. Images become links: fetching one would reveal who reads, and when.
"""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import nh3
from markdown_it.token import Token

SCHEMES = {"http", "https", "mailto"}
MOST_PLAIN_LINKS = 200  # addresses in plain text; beyond this number none of them becomes a link
_LINK_SIGNS = re.compile(r"://|@|www\.|\.\w", re.IGNORECASE)
_LINK = re.compile(rf"(?:{'|'.join(sorted(SCHEMES))}):", re.IGNORECASE)
_HOST = re.compile(r"(?:[\w-]{1,63}\.)+[a-z]{2,63}|://", re.IGNORECASE)


def is_allowed(url: str) -> bool:
    return bool(_LINK.match(url.strip()))


def has_few_links(text: str) -> bool:
    """Return whether `text` is cheap to search for plain addresses."""
    return all(count < MOST_PLAIN_LINKS for count, _ in enumerate(_LINK_SIGNS.finditer(text)))


def prepare(tokens: list[Token]) -> list[Token]:
    """Return the tokens of a paragraph with images as links, and the host after each link that suggests another one."""
    for token in tokens:
        if token.type == "image":
            token.type = "image_link"
    return _with_hosts(tokens)


def _with_hosts(tokens: list[Token]) -> list[Token]:
    shown: list[Token] = []
    start = 0
    for token in tokens:
        shown.append(token)
        if token.type == "link_open":
            start = len(shown)
        elif token.type == "link_close":
            link = shown[start - 1]
            host = _host_of(str(link.attrs.get("href", "")))
            words = "".join(inner.content for inner in shown[start:-1])
            if host and _suggests_another_host(words, host):
                shown.append(Token("host", "span", 0, content=host))
    return shown


def _host_of(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _suggests_another_host(words: str, host: str) -> bool:
    """Return whether the text of a link looks like an address that does not start with `host`."""
    text = words.strip().lower()
    text = re.sub(r"^[a-z][a-z0-9+.-]*://", "", text)
    starts_there = text == host.lower() or text.startswith((f"{host.lower()}/", f"{host.lower()}?", f"{host.lower()}#"))
    return not starts_there and bool(_HOST.search(words))


def _render_host(renderer, tokens: list[Token], at: int, options, env) -> str:
    return f' <span class="host">({nh3.clean_text(tokens[at].content)})</span>'


def _render_image_link(renderer, tokens: list[Token], at: int, options, env) -> str:
    token = tokens[at]
    words = renderer.renderInlineAsText(token.children or [], options, env)
    source = str(token.attrs["src"])
    escape = nh3.clean_text
    host = _host_of(source)
    leads_to = f' <span class="host">({escape(host)})</span>' if host and _suggests_another_host(words, host) else ""
    return f'<a href="{escape(source)}">{escape(words or source)}</a>{leads_to}'


RENDER_RULES: dict[str, Callable[..., str]] = {"host": _render_host, "image_link": _render_image_link}

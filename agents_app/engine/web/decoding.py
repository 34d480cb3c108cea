"""Decode a web page into text: from its character set, and HTML without its markup.

Browsers' rules find the character set. charset-normalizer guesses from the bytes instead, and takes a short Czech page
in ISO 8859-2 for Urdu (cp1006).
"""

import codecs
import re

_MARKUP = re.compile(r"text/(html|xml)|application/(xhtml\+xml|xml)|.+\+xml")
_HTML = ("text/html", "application/xhtml+xml")

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_DECLARATION_LIMIT = 1024  # bytes, as in browsers
# Python's other codecs are not character sets of pages, and some are slow on crafted input.
_CODECS = re.compile(
    r"utf-8|utf-16(-[lb]e)?|iso8859-\d+|cp(125\d|866|874|932|949)|koi8-[rtu]|mac-(roman|cyrillic)|gb18030"
    r"|big5(hkscs)?|euc_(jp|kr)|iso2022_jp"
)
# Pages that name the older, smaller set use the newer one.
_SUPERSETS = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "gb2312": "gb18030", "gbk": "gb18030",
    "shift_jis": "cp932", "euc_kr": "cp949", "utf-8-sig": "utf-8",
}  # fmt: skip


def page_text(body: bytes, *, media_type: str, charset: str, url: str, max_characters: int) -> str:
    """Return the page's first `max_characters`, or one more if the page is longer.

    `charset` is the server's declaration, or empty. Links are relative to `url`.
    """
    text = _decode(body, charset, is_markup=bool(_MARKUP.fullmatch(media_type)))
    if media_type in _HTML:
        from agents_app.engine.web.html_to_text import html_to_text  # lxml: 0.02 s of every start

        text = html_to_text(text, url=url, max_characters=max_characters)
    return text[: max_characters + 1]


def _decode(body: bytes, charset: str, *, is_markup: bool) -> str:
    """Decode by byte order mark, server's declaration, own declaration, UTF-8, or browsers' default. Drop NUL."""
    codec = next((codec for mark, codec in _BYTE_ORDER_MARKS if body.startswith(mark)), None) or _codec(charset)
    if codec is None and is_markup and (declared := _DECLARED.search(body[:_DECLARATION_LIMIT])):
        codec = _codec(declared[1].decode())
        codec = (
            "utf-8" if codec and codec.startswith("utf-16") else codec
        )  # if it were UTF-16, the declaration would not be readable
    if codec is None:
        codec = "utf-8" if _is_utf8(body) else "cp1252"
    return body.decode(codec, "replace").lstrip("\ufeff").replace("\x00", "")


def _codec(label: str) -> str | None:
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _SUPERSETS.get(name, name)
    return name if _CODECS.fullmatch(name) else None


def _is_utf8(body: bytes) -> bool:
    """Whether the body is UTF-8, even if its last character is cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return False
    return True

"""What a page of the web says, as text: whatever its character set, and HTML without its markup."""

import codecs
import re

from agents_app.engine.web.html_to_text import readable

_MARKUP = re.compile(r"text/(html|xml)|application/(xhtml\+xml|xml)|.+\+xml")
_HTML = ("text/html", "application/xhtml+xml")

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_DECLARED_WITHIN = 1024  # bytes, as browsers look for it
# Python's other codecs are no character sets of pages, and some are slow on purpose-made input.
_CODECS = re.compile(
    r"utf-8|utf-16(-[lb]e)?|iso8859-\d+|cp(125\d|866|874|932|949)|koi8-[rtu]|mac-(roman|cyrillic)|gb18030"
    r"|big5(hkscs)?|euc_(jp|kr)|iso2022_jp"
)
# What pages mean that name the older, smaller set.
_MEANT = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "gb2312": "gb18030", "gbk": "gb18030",
    "shift_jis": "cp932", "euc_kr": "cp949", "utf-8-sig": "utf-8",
}  # fmt: skip


def page_text(body: bytes, *, media_type: str, charset: str, url: str, most: int) -> str:
    """The page's first characters: `most`, or one more where there are more.

    `charset` is the server's word, or empty; `url` is what the page's links are relative to.
    """
    text = _decode(body, charset, is_markup=bool(_MARKUP.fullmatch(media_type)))
    if media_type in _HTML:
        text = readable(text, url=url, most=most)
    return text[: most + 1]


def _decode(body: bytes, charset: str, *, is_markup: bool) -> str:
    """By its byte order mark, the server's word or its own, else as UTF-8, else as browsers do. Nulls are left out."""
    codec = next((codec for mark, codec in _BYTE_ORDER_MARKS if body.startswith(mark)), None) or _codec(charset)
    if codec is None and is_markup and (declared := _DECLARED.search(body[:_DECLARED_WITHIN])):
        codec = _codec(declared[1].decode())
        codec = "utf-8" if codec and codec.startswith("utf-16") else codec  # it could not be read if it were true
    if codec is None:
        codec = "utf-8" if _is_utf8(body) else "cp1252"
    return body.decode(codec, "replace").lstrip("\ufeff").replace("\x00", "")


def _codec(label: str) -> str | None:
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _MEANT.get(name, name)
    return name if _CODECS.fullmatch(name) else None


def _is_utf8(body: bytes) -> bool:
    """Whether it is UTF-8, of which the last character may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return False
    return True

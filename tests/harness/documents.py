"""Files that tests send: small ones, unless they ask for more."""

import io

import pypdf
from PIL import Image


def picture(width: int = 40, height: int = 30) -> bytes:
    """Return a picture of noise, which no format makes much smaller."""
    data = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(data, "PNG")
    return data.getvalue()


def pdf(pages: int = 1, password: str = "") -> bytes:
    """Return a document of empty pages."""
    writer = pypdf.PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(100, 100)
    if password:
        writer.encrypt(password)
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()

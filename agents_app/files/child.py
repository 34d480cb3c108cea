"""A program that reads one foreign file, so that whatever the file does happens to this process and to no other.

    python -I -S child.py PARENT JOB < FILE > RESULT

PARENT is the process to die with. JOB is an object: `job`, its options, `limits` and the `path` of modules. The result
is an object in the first line, and bytes after it. It imports nothing of Django, and the parsers only under its limits.
"""

import csv
import ctypes
import io
import json
import os
import resource
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

_MOST_UNPACKED = 100 * 2**20  # bytes of an archive's files, as it declares them: `zipfile` reads no more than that
_MOST_ENTRIES = 5_000
_MOST_PIXELS = 64_000_000  # a picture of 8,000 × 8,000: 256 MiB when it is read
_PICTURES = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "AVIF")
_AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
_PATIENCE = 10.0  # seconds of reading text; the rest is left out


class Problem(Exception):
    """The file cannot be read. The text says why, for a model."""


def main() -> None:
    parent, job = int(sys.argv[1]), json.loads(sys.argv[2])
    _die_with(parent)
    for name, value in job["limits"].items():
        _limit(getattr(resource, name), value)
    signal.alarm(job["seconds"])
    os.nice(5)
    sys.path += job["path"]
    sys.modules["numpy"] = None  # type: ignore[assignment]  # openpyxl would import it, if it is there
    source = os.fdopen(0, "rb")
    try:
        header, data = _JOBS[job["job"]](source, job)
    except Problem as problem:
        header, data = {"problem": str(problem)}, b""
    except MemoryError:
        header, data = {"problem": "it needs too much memory to be read"}, b""
    except Exception as error:  # whatever a parser raises for a broken file
        header, data = {"problem": "it is broken", "error": repr(error)[:300]}, b""
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n")
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
    os._exit(0)  # nothing of the parsers' is worth a clean end


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        sys.exit(1)


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


# Text


class _Full(Exception):
    """There is text enough, or time is up."""


class _Text:
    """The text so far, up to a number of characters."""

    def __init__(self, most: int) -> None:
        self.pieces: list[str] = []
        self._room = most
        self._until = time.monotonic() + _PATIENCE

    def add(self, text: str) -> None:
        """Add text.

        Raises:
            _Full: this was the last that had room.
        """
        self.pieces.append(text[: self._room])
        self._room -= len(text)
        if self._room <= 0 or time.monotonic() > self._until:
            raise _Full


def _extract(source: IO[bytes], job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    text, left_out = _Text(job["most_characters"]), ""
    for name in _READERS[job["media_type"]](source, text):
        left_out = name
    data = "".join(text.pieces).encode("utf-8", "replace")
    if not data.strip():
        raise Problem("there is no text in it")
    return {"left_out": left_out}, data


def _pdf(source: IO[bytes], text: _Text) -> Iterator[str]:
    """Add the text of the pages, one after the other. Yields what is left out, as the other readers do."""
    reader = _open_pdf(source)
    count = len(reader.pages)
    for number in range(1, count + 1):
        try:
            content = reader.pages[number - 1].extract_text().strip()
            if content:
                text.add(f"[page {number:,}]\n{content}\n\n")
        except _Full:
            yield f"pages {number + 1:,} to {count:,}" if number + 1 < count else "the rest"
            return


def _open_pdf(source: IO[bytes]) -> Any:
    import pypdf

    reader = pypdf.PdfReader(source)
    if reader.is_encrypted and not reader.decrypt(""):
        raise Problem("it is encrypted")
    return reader


def _check_zip(source: IO[bytes]) -> None:
    with zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES or sum(entry.file_size for entry in entries) > _MOST_UNPACKED:
        raise Problem("it unpacks to too many bytes")
    source.seek(0)


def _docx(source: IO[bytes], text: _Text) -> Iterator[str]:
    import docx
    from docx.table import Table

    _check_zip(source)
    document = docx.Document(source)
    try:
        for block in document.iter_inner_content():
            if isinstance(block, Table):
                for row in block.rows:
                    text.add(" | ".join(cell.text for cell in row.cells) + "\n")
            elif block.text.strip():
                style = (block.style.name or "") if block.style else ""
                text.add(("## " if style.startswith("Heading") else "") + block.text + "\n")
    except _Full:
        yield "the rest"


def _pptx(source: IO[bytes], text: _Text) -> Iterator[str]:
    import pptx

    _check_zip(source)
    slides = pptx.Presentation(source).slides
    for number, slide in enumerate(slides, 1):
        try:
            text.add(f"[slide {number:,}]\n")
            for line in _of_shapes(slide.shapes):
                text.add(line + "\n")
            if slide.has_notes_slide:
                text.add(f"Notes: {slide.notes_slide.notes_text_frame.text}\n")
        except _Full:
            yield f"the rest from slide {number:,} of {len(slides):,}"
            return


def _of_shapes(shapes: Iterable[Any]) -> Iterator[str]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _of_shapes(shape.shapes)
        elif shape.has_text_frame:
            yield shape.text_frame.text
        elif getattr(shape, "has_table", False):
            for row in shape.table.rows:
                yield " | ".join(cell.text for cell in row.cells)


def _xlsx(source: IO[bytes], text: _Text) -> Iterator[str]:
    import openpyxl  # type: ignore[import-untyped]

    _check_zip(source)
    workbook = openpyxl.load_workbook(source, read_only=True, data_only=True, keep_links=False)
    for number, sheet in enumerate(workbook.worksheets, 1):
        try:
            text.add(f"[sheet {sheet.title}]\n")
            for row in sheet.iter_rows(values_only=True):
                text.add(_csv_line(row))
        except _Full:
            yield f"the rest from sheet {number:,} of {len(workbook.worksheets):,}"
            return


def _csv_line(row: Iterable[Any]) -> str:
    values = ["" if value is None else str(value) for value in row]
    while values and not values[-1]:
        values.pop()
    if not values:
        return ""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def _html(source: IO[bytes], text: _Text) -> Iterator[str]:
    from agents_app.engine.web.html_to_text import html_to_text

    page = source.read().decode("utf-8", "replace")
    try:
        text.add(html_to_text(page, url="", max_characters=1_000_000))
    except _Full:
        yield "the rest"


_OFFICE = "application/vnd.openxmlformats-officedocument."
_READERS: dict[str, Callable[[IO[bytes], _Text], Iterator[str]]] = {
    "application/pdf": _pdf,
    f"{_OFFICE}wordprocessingml.document": _docx,
    f"{_OFFICE}presentationml.presentation": _pptx,
    f"{_OFFICE}spreadsheetml.sheet": _xlsx,
    "text/html": _html,
}


# Files that a model gets as they are


def _count_pages(source: IO[bytes], _: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    reader = _open_pdf(source)
    if reader.is_encrypted:
        raise Problem("it is encrypted")
    return {"pages": len(reader.pages)}, b""


def _picture(source: IO[bytes], job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the picture, scaled if it is too large; without bytes if it can be sent as it is."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # checked here, before anything is read
    image: Any = Image.open(source, formats=_PICTURES)
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise Problem(f"its {width:,} × {height:,} pixels are too many")
    size = source.seek(0, os.SEEK_END)
    edge = job["longest_edge"]
    fits = max(width, height) <= edge and size <= job["most_bytes"]
    if not fits:
        image.draft("RGB", (edge, edge))
    format_ = image.format
    image.load()
    if fits and format_ in _AS_THEY_ARE:
        return {"media_type": _AS_THEY_ARE[format_]}, b""
    image = ImageOps.exif_transpose(image)
    image.thumbnail((edge, edge))
    return _saved(image, job["most_bytes"], is_photo=format_ == "JPEG")


def _saved(image: Any, most: int, *, is_photo: bool) -> tuple[dict[str, Any], bytes]:
    if not is_photo:
        as_png = image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else image.convert("RGBA")
        data = _save(as_png, "PNG", compress_level=3)
        if len(data) <= most:
            return {"media_type": "image/png"}, data
    for quality in (85, 60, 35):
        data = _save(_without_alpha(image), "JPEG", quality=quality)
        if len(data) <= most:
            return {"media_type": "image/jpeg"}, data
    raise Problem("it is too large")


def _without_alpha(image: Any) -> Any:
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert("RGB")
    paper = Image.new("RGB", image.size, "white")
    layer = image.convert("RGBA")
    paper.paste(layer, mask=layer)
    return paper


def _save(image: Any, format_: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


_JOBS = {"text": _extract, "pages": _count_pages, "picture": _picture}


if __name__ == "__main__":
    main()

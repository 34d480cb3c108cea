"""Foreign files are read by a child with limits. Prints what each took."""

import asyncio
import io
import resource
import struct
import tempfile
import time
import zipfile
import zlib

import docx
import openpyxl
import pptx
import pytest

from agents_app.files import extraction
from tests.harness.documents import pdf, picture

_OFFICE = "application/vnd.openxmlformats-officedocument."
DOCX = f"{_OFFICE}wordprocessingml.document"
XLSX = f"{_OFFICE}spreadsheetml.sheet"
PPTX = f"{_OFFICE}presentationml.presentation"


def read(data: bytes, job, **options) -> extraction.Result:
    async def run() -> extraction.Result:
        with tempfile.TemporaryFile() as source:
            source.write(data)
            source.flush()
            return await job(source, **options)

    begun = time.monotonic()
    result = asyncio.run(run())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"{time.monotonic() - begun:.1f} s, {peak} MiB at most so far: {result.problem or len(result.data)}")
    return result


def read_text(data: bytes, media_type: str, most: int = 10_000) -> extraction.Result:
    return read(data, extraction.text, media_type=media_type, most_characters=most)


def saved(document) -> bytes:
    data = io.BytesIO()
    document.save(data)
    return data.getvalue()


def word() -> bytes:
    document = docx.Document()
    document.add_heading("Title")
    document.add_paragraph("Words")
    document.add_table(1, 2).cell(0, 1).text = "cell"
    return saved(document)


def sheet() -> bytes:
    workbook = openpyxl.Workbook()
    workbook.active.append([1, "two, three", None])
    return saved(workbook)


def slides() -> bytes:
    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[0]).shapes.title.text = "Hello"
    return saved(deck)


@pytest.mark.parametrize(
    ("make", "media_type", "text"),
    [
        (word, DOCX, "## Title\nWords\n | cell\n"),
        (sheet, XLSX, '[sheet Sheet]\n1,"two, three"\n'),
        (slides, PPTX, "[slide 1]\nHello\n\n"),
    ],
)
def test_text_of_office_documents(make, media_type, text):
    assert read_text(make(), media_type).data.decode() == text


def bomb() -> bytes:
    """A document that unpacks to 400 MB."""
    data = io.BytesIO(word())
    with zipfile.ZipFile(data, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("word/media/x.xml", "w") as entry:
        for _ in range(400):
            entry.write(bytes(1_000_000))
    return data.getvalue()


def liar() -> bytes:
    """A document whose text of 50 MB is declared as one byte."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"<a>" + b" " * 50_000_000)
    packed = bytearray(data.getvalue())
    size = struct.pack("<L", 50_000_003)
    return bytes(packed.replace(size, struct.pack("<L", 1)))


def huge_png() -> bytes:
    """20,000 × 20,000 pixels in some bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    header = struct.pack(">LLBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("make", "media_type", "problem"),
    [
        (bomb, DOCX, "it unpacks to too many bytes"),
        (liar, DOCX, "it is broken"),
        (lambda: pdf(password="secret"), "application/pdf", "it is encrypted"),
        (lambda: pdf()[:300], "application/pdf", "it is broken"),
        (lambda: pdf(10_000), "application/pdf", "there is no text in it"),
    ],
)
def test_a_hostile_document_is_a_problem(make, media_type, problem):
    result = read_text(make(), media_type)
    assert (result.problem, result.data) == (problem, b"")


LAUGHS = "".join(f'<!ENTITY x{n} "{f"&x{n - 1};" * 10}">' for n in range(1, 10))


def with_entity(data: bytes, part: str, word: str, entities: str) -> bytes:
    """Return an Office document in one of whose parts a word is the entity `x`."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == part:
                assert word.encode() in content
                start = content.index(b"?>") + 2 if content.startswith(b"<?xml") else 0
                content = content[start:].replace(word.encode(), b"&x;")
                content = f"<!DOCTYPE any [{entities}]>".encode() + content
            new.writestr(name, content)
    return changed.getvalue()


@pytest.mark.parametrize(
    ("make", "media_type", "part", "word"),
    [(word, DOCX, "word/document.xml", "Words"), (sheet, XLSX, "xl/sharedStrings.xml", "two, three")],
)
@pytest.mark.parametrize("is_bomb", [False, True])
def test_entities_of_office_documents_are_not_expanded(tmp_path, make, media_type, part, word, is_bomb):
    secret = tmp_path / "secret"
    secret.write_text("confidential")
    external = f'<!ENTITY x SYSTEM "{secret.as_uri()}">'
    bomb = f'<!ENTITY x0 "ha">{LAUGHS}<!ENTITY x "&x9;">'
    began = time.monotonic()
    result = read_text(with_entity(make(), part, word, bomb if is_bomb else external), media_type, most=2_000_000)
    assert b"confidential" not in result.data
    assert len(result.data) < 1000
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (huge_png, "its 20,000 × 20,000 pixels are too many"),
        (lambda: picture()[:200], "it is broken"),
        (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", "it is broken"),
    ],
)
def test_a_hostile_picture_is_a_problem(make, problem):
    assert read(make(), extraction.picture, longest_edge=1568, most_bytes=10**6).problem == problem


def test_a_large_picture_is_scaled():
    from PIL import Image

    result = read(picture(2000, 500), extraction.picture, longest_edge=1000, most_bytes=10**7)
    assert result.fields == {"media_type": "image/png"}
    assert Image.open(io.BytesIO(result.data)).size == (1000, 250)
    result = read(picture(1000, 1000), extraction.picture, longest_edge=1000, most_bytes=500_000)
    assert result.fields == {"media_type": "image/jpeg"}
    assert len(result.data) < 500_000


def test_cancelling_kills_the_child(monkeypatch):
    children = []
    start = extraction._Child._start
    monkeypatch.setattr(extraction._Child, "_start", lambda *a: children.append(start(*a)) or children[-1])

    async def run() -> None:
        with tempfile.TemporaryFile() as source:
            source.write(pdf(10_000))
            source.flush()
            task = asyncio.create_task(extraction.text(source, "application/pdf", most_characters=100))
            while not children:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(run())
    assert children[0].wait(10) == -9

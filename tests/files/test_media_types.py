"""A file is what its content says, whatever its name and its sender say."""

import pytest

from agents_app.files.media_types import HEAD, clean_name, media_type

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "harmless.txt", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "", "image/jpeg"),
        (b"GIF89a\x01\0", "x.png", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "", "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt \x10", "", "audio/wav"),
        (b"%PDF-1.7\n%\xe2\xe3", "a.docx", "application/pdf"),
        (b"PK\x03\x04\x14\0", "a.docx", DOCX),
        (b"PK\x03\x04\x14\0", "a.png", "application/zip"),
        (b"\x7fELF\x02\x01\x01\0", "a.png", "application/octet-stream"),
        (bytes(range(256)), "a.pdf", "application/octet-stream"),
        (b"a,b\n1,2\n", "data.csv", "text/csv"),
        (b"a,b\n1,2\n", "data.png", "text/plain"),
        (b"# Title\n", "README.md", "text/markdown"),
        (b"{}", "x.json", "application/json"),
        (b"print(1)", "x.py", "text/x-python"),
        ("über".encode(), "", "text/plain"),
        (b"\xef\xbb\xbf<!DOCTYPE html><script>", "picture.png", "text/html"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">', "picture.png", "image/svg+xml"),
        (b'<?xml version="1.0"?>\n<svg>', "", "image/svg+xml"),
        (b"a" * (HEAD - 1) + "é".encode()[:1], "", "text/plain"),
        (b"text\0", "", "application/octet-stream"),
    ],
)
def test_type_by_content(head, name, expected):
    assert media_type(head, name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("a\r\nSet-Cookie: x\x00.txt", "aSet-Cookie: x.txt"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("..", ""),
        ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
    ],
)
def test_names_have_no_folders_and_nothing_invisible(name, expected):
    assert clean_name(name) == expected

"""Files from addresses that a user names: bounded in bytes, time, redirects and network."""

import asyncio
import time

import pytest

from agents_app.exceptions import InvalidRequest
from agents_app.files import remote
from tests.harness.fakes.site import Site

DATA = bytes(range(256)) * 20_000  # 5 MiB


@pytest.fixture(scope="module")
def site():
    with Site() as running:
        yield running


@pytest.fixture(autouse=True)
def local(settings):
    settings.FETCH_ALLOW_PRIVATE = True


def fetch(*urls: str, most_bytes: int = 6 * 2**20) -> list[bytes]:
    async def read() -> list[bytes]:
        named = {f"field[{number}]": url for number, url in enumerate(urls)}
        async with remote.fetched(named, owner=1, most_bytes=most_bytes) as files:
            return [file.read() for file in files.values()]

    return asyncio.run(read())


def test_files_are_fetched_whole(site):
    target = site.page("/whole", DATA)
    assert fetch(site.redirect("/moved", target), site.page("/small", b"x")) == [DATA, b"x"]


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(2**16))


def test_what_cannot_be_fetched_names_its_field(site, monkeypatch):
    def silent(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.flush()
        site.closing.wait(30)

    monkeypatch.setattr(remote, "TIME_LIMIT", 0.5)
    for url, text in (
        (site.page("/none", status=404), "404"),
        (site.serve("/endless", endless), "larger than"),
        (site.serve("/silent", silent), "0.5 seconds"),
        (site.redirect("/around", "/around"), "redirects more than 5 times"),
        (site.redirect("/metadata", "http://169.254.169.254/latest"), "not allowed"),
        (site.page("/packed", b"x", Content_Encoding="gzip"), "compressed"),
        ("http://localhost:1/", "cannot be fetched"),
        ("https://" + "x" * 9000, "too long"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            fetch(site.page("/small", b"x"), url)
        assert caught.value.param == "field[1]"
        assert str(caught.value).startswith("'field[1]' cannot be fetched: ")
        assert text in str(caught.value)


def test_private_addresses_are_refused(site, settings):
    settings.FETCH_ALLOW_PRIVATE = False
    before = site.connections
    with pytest.raises(InvalidRequest, match="private network"):
        fetch(site.page("/private", b"x"))
    assert site.connections == before


def test_all_files_of_a_request_have_one_limit_and_one_deadline(site):
    page = site.page("/half", bytes(2**20))
    with pytest.raises(InvalidRequest, match="larger than"):
        fetch(page, page, most_bytes=2**20 + 1)
    with pytest.raises(InvalidRequest, match="at most 20"):
        fetch(*[page] * 21)
    began = time.monotonic()
    assert len(fetch(*[site.page("/small", b"x")] * 20)) == 20
    assert time.monotonic() - began < remote.TIME_LIMIT

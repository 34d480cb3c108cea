"""`fetch_url`: pages of the web as text, within limits of time, size and place."""

import asyncio
import functools
import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from agents_app.engine.toolset import Call, ToolError, ToolResult, check_arguments
from agents_app.engine.web import fetch_url
from agents_app.engine.web.guarded_client import guarded_client
from agents_app.engine.web.resolving import FETCHES
from tests.harness.fakes.site import Site
from tests.harness.network import Names, Network
from tests.harness.product import Product

Fetch = Callable[..., ToolResult]
PUBLIC = "93.184.216.34"


@pytest.fixture
def site():
    with Site() as running:
        yield running


@pytest.fixture
def read() -> Fetch:
    """Call the tool, which may ask this machine; what it tells the model."""
    return functools.partial(call, allow_private=True)


client_of_anybody = functools.partial(guarded_client, resolve=FETCHES.of(None))


def call(url: str, *, allow_private: bool, time_limit: float = 60, open_client=client_of_anybody, **arguments):
    tool = fetch_url.make_tool(allow_private=allow_private, open_client=open_client, time_limit=time_limit)
    arguments = {"url": url, **arguments}
    check_arguments(tool, arguments)
    return asyncio.run(tool.call(arguments, Call("call_1", lambda text: None)))


def content(result: ToolResult) -> str:
    """What the page says, without the lines before it."""
    return result.content.partition("\n\n")[2]


ARTICLE = """<!doctype html><html><head><title>A  fine
 page</title><style>p { color: red }</style><script>var no = "<p>no</p>"</script></head><body>
<nav><a href="/a">One</a><a href="b?x=1&amp;y=2">Two</a> <a href="#top">Top</a> <a href="javascript:x()">Run</a></nav>
<h1>Main <em>head</em></h1><p>Hello   <a href="//other.example/x">wor<b>ld</b></a>, again.<br>New&nbsp;line</p>
<h2>Lists</h2><ul><li>one<li>two<ul><li>nested</li></ul><li><li>three</ul>
<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
<pre>
def f():
    return 1
</pre><p>A<sub>1</sub>.<div hidden>secret</div><i style="display: none">secret</i><i aria-hidden="true">secret</i>
<img src="x.png" alt="a cat"><img src="y.png"> <a href="https://same.example/">https://same.example/</a>
<!-- secret --><noscript>secret</noscript><svg><title>secret</title><text>secret</text></svg></body></html>"""


def test_html_becomes_text_with_headings_and_links(site, read):
    result = read(site.page("/d/page", ARTICLE, Content_Type="text/html; charset=utf-8"))
    assert not result.is_error
    assert (
        result.content
        == f"""URL: {site.url}/d/page
Status: 200 OK
Type: text/html

Title: A fine page

One ({site.url}/a) Two ({site.url}/d/b?x=1&y=2) Top Run

# Main head

Hello world (http://other.example/x), again.
New line

## Lists

- one
- two
  - nested
- three

a | b
1 | 2


def f():
    return 1

A1.

[image: a cat] https://same.example/"""
    )


@pytest.mark.parametrize("html", ["<p>a", "<p>a</p></div></body>", "a", "<b><p>a</b>", "<select><option>b</select>a",
                                  "<table>a", "<svg><p>b</svg>a", "<a href='http://['>a</a>", "<base href='::'>a",
                                  "<li></li>a", "<h1></h1>a", "&#97;", "<p\0>a", "<ul><li></ul>a",
                                  "<a href=x></a>a", "<p hidden>b</p>a", "<x y=z>a</x>", "</a></ul>a"])  # fmt: skip
def test_broken_html_is_read_as_well_as_it_goes(site, read, html):
    assert content(read(site.page("/", html, Content_Type="text/html"))) == "a"


def test_a_base_is_what_links_are_relative_to(site, read):
    page = site.page("/", "<base href='http://base.example/d/'><a href=x>X</a>", Content_Type="text/html")
    assert content(read(page)) == "X (http://base.example/d/x)"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("žluťoučký".encode("iso8859-2"), "text/html; charset=ISO-8859-2"),
        ("žluťoučký".encode("iso8859-2"), "text/plain;charset='iso-8859-2'"),
        (b"<meta charset=iso-8859-2>" + "žluťoučký".encode("iso8859-2"), "text/html"),
        (b"<meta http-equiv=Content-Type content='text/html; charset=iso-8859-2'>"
         + "žluťoučký".encode("iso8859-2"), "text/html"),
        (b"<meta charset=iso-8859-2>" + "žluťoučký".encode(), "text/html; charset=utf-8"),
        (b"<meta charset=utf-16>" + "žluťoučký".encode(), "text/html"),
        ("žluťoučký".encode(), "text/html"),
        ("žluťoučký".encode(), "text/plain; charset=nonsense"),
        ("žluťoučký".encode(), "text/plain; charset=punycode"),
        ("žluťoučký".encode(), "text/plain; charset=base64"),
        ("žluťoučký".encode("utf-16"), "text/plain"),
        ("žluťoučký".encode("utf-16-be"), "text/plain; charset=utf-16be"),
        ("žluťoučký".encode("utf-8-sig"), "text/plain; charset=iso-8859-1"),
    ],
)  # fmt: skip
def test_character_sets(site, read, body, content_type):
    assert content(read(site.page("/", body, Content_Type=content_type))) == "žluťoučký"


def test_what_is_neither_declared_nor_utf8_is_read_as_browsers_do(site, read):
    page = site.page("/", b"caf\xe9 \x80 \x93x\x94", Content_Type="text/plain")
    assert content(read(page)) == "café € “x”"
    assert content(read(site.page("/cut", b"caf\xc3", Content_Type="text/plain"))) == "caf\ufffd"


def test_nulls_are_left_out(site, read):
    assert content(read(site.page("/", b"a\0b", Content_Type="text/plain"))) == "ab"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '{"a":  [1, "<b>"]}'),
        ("application/problem+json", '{"a": 1}'),
        ("application/xml", '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'),
        ("application/rss+xml; charset=utf-8", "<rss>  <b/></rss>"),
        ("text/csv", "a,b\r\n1,2\r\n"),
        ("TEXT/Markdown", "# hi\n\n*x*"),
        ("application/x-yaml", "a: 1"),
    ],
)
def test_other_texts_are_returned_as_they_are(site, read, content_type, body):
    assert content(read(site.page("/", body, Content_Type=content_type))) == body


def test_a_page_that_names_no_type_is_looked_at(site, read):
    assert content(read(site.page("/", " \n<!DOCTYPE HTML><b>hi</b>"))) == "hi"
    assert content(read(site.page("/", "1 < 2"))) == "1 < 2"
    with pytest.raises(ToolError, match="application/octet-stream"):
        read(site.page("/", b"\x7fELF\0\0"))


def stalling(site: Site, begin: str) -> Callable:
    """An answer that begins, and does not go on."""

    def answer(handler) -> None:
        handler.wfile.write(begin.encode())
        site.closing.wait(30)

    return answer


@pytest.mark.parametrize("content_type", ["image/png", "application/pdf", "application/octet-stream", "nonsense"])
def test_what_is_no_text_is_an_error_that_names_its_type(site, read, content_type):
    page = site.serve("/file", stalling(site, f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n"))
    with pytest.raises(ToolError) as details:
        read(page, time_limit=25)
    assert repr(content_type) in str(details.value)
    assert page in str(details.value)


def test_an_error_of_the_server_is_returned_with_its_page(site, read):
    result = read(site.page("/", "<h1>Gone fishing</h1>", status=404, Content_Type="text/html"))
    assert result.is_error
    assert "Status: 404 Not Found\n" in result.content
    assert content(result) == "# Gone fishing"
    binary = read(site.page("/b", b"\x89PNG\0", status=503, Content_Type="image/png"))
    assert binary.is_error
    assert "Status: 503 Service Unavailable\nType: image/png\n" in binary.content
    assert "PNG\0" not in binary.content


@pytest.mark.parametrize("page", [{}, {"status": 204}, {"Content_Type": "text/html"}, {"Content_Type": "text/plain"}])
def test_an_empty_page_is_reported_as_empty(site, read, page):
    result = read(site.page("/", **page))
    assert not result.is_error
    assert content(result) == "[There is nothing to read on this page.]"


def test_a_long_page_is_cut_and_says_so(site, read):
    page = site.page("/", "x" * 30_000, Content_Type="text/plain")
    assert content(read(page)) == "x" * 20_000 + "\n\n[These are the first 20,000 characters; there are more.]"
    assert content(read(page, max_characters=5)) == "xxxxx\n\n[These are the first 5 characters; there are more.]"
    assert content(read(page, max_characters=30_000.0)) == "x" * 30_000
    html = site.page("/html", "<p>word</p>" * 20_000, Content_Type="text/html")
    assert content(read(html, max_characters=10)).startswith("word\n\nword\n\n[These")


@pytest.mark.parametrize("arguments", [{"url": 7}, {"url": ""}, {"url": "http://e.org/", "max_characters": 0},
                                       {"url": "http://e.org/", "max_characters": 10**6},
                                       {"url": "http://e.org/", "max_characters": "5"}])  # fmt: skip
def test_wrong_arguments_are_refused(read, arguments):
    with pytest.raises(ToolError):
        read(**arguments)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site, read, status):
    site.page("/end", "the end", Content_Type="text/plain", status=200)
    site.redirect("/middle", "end", status)
    result = read(site.redirect("/start", "/middle", status))
    assert result.content.startswith(f"URL: {site.url}/end\n")
    assert content(result) == "the end"


def test_redirects_come_to_an_end(site, read):
    with pytest.raises(ToolError, match="more than 5 times"):
        read(site.redirect("/loop", "/loop"))
    assert len(site.requests) == 6
    site.page("/0", "there", Content_Type="text/plain")
    for step in range(1, 7):
        site.redirect(f"/{step}", f"/{step - 1}")
    assert content(read(f"{site.url}/5")) == "there"
    with pytest.raises(ToolError, match="more than 5 times"):
        read(f"{site.url}/6")


def test_the_body_of_a_redirect_is_not_read(site, read):
    site.serve("/", stalling(site, "HTTP/1.1 302 Found\r\nLocation: /end\r\n\r\nmoved"))
    site.page("/end", "the end", Content_Type="text/plain")
    assert content(read(f"{site.url}/", time_limit=25)) == "the end"


@pytest.mark.parametrize("location", ["http://[", "http://", "//", "javascript:alert(1)", "http://a:99999/", "file:///x",
                                      "http://u:p@127.0.0.1/", "http:///x", "\x01", "http://ÿ.\x80/",
                                      "http://" + "a" * 60_000, "http://0x7f.1/", "http://a b/", ""])  # fmt: skip
def test_a_redirect_to_nowhere_is_an_error(site, read, location):
    def answer(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location.encode("latin-1"))
        handler.wfile.write(b"\r\n\r\n")

    with pytest.raises(ToolError) as details:
        read(site.serve("/", answer))
    assert len(str(details.value)) < 500


@pytest.mark.parametrize("target", ["http://10.0.0.1/", "http://169.254.169.254/latest/", "http://localhost/",
                                    "http://0x7f.1/", "http://[::1]/"])  # fmt: skip
def test_a_redirect_into_a_private_network_is_not_followed(site, target):
    site.redirect("/", target)
    network = Network(site.port)
    client = functools.partial(guarded_client, resolve=Names([PUBLIC]), network=network)
    with pytest.raises(ToolError):
        call("http://example.com/", allow_private=False, open_client=client)
    assert network.connected == [(PUBLIC, 80)]
    assert len(site.requests) == 1


def test_a_redirect_to_a_rebound_name_is_not_followed(site):
    site.redirect("/", "/again")
    network = Network(site.port)
    client = functools.partial(guarded_client, resolve=Names([PUBLIC], ["127.0.0.1"]), network=network)
    with pytest.raises(ToolError, match="private network"):
        call("http://evil.example/", allow_private=False, open_client=client)
    assert len(site.requests) == 1


def test_this_machine_is_not_asked_unless_that_is_allowed(site):
    page = site.page("/", "inside", Content_Type="text/plain")
    with pytest.raises(ToolError, match="private network"):
        call(page, allow_private=False)
    assert site.connections == 0


def endless(site: Site, piece: bytes, *headers: str):
    """An answer that goes on for as long as somebody reads it."""

    def answer(handler) -> None:
        handler.wfile.write("\r\n".join(("HTTP/1.1 200 OK", *headers, "", "")).encode())
        while not site.closing.is_set():
            handler.wfile.write(piece)

    return site.serve("/endless", answer)


def test_of_an_endless_page_only_the_first_part_is_read(site, read):
    page = endless(site, b"word " * 10_000, "Content-Type: text/plain")
    assert content(read(page)).endswith("[These are the first 20,000 characters; there are more.]")
    blank = endless(site, b"<p> </p>" * 10_000, "Content-Type: text/html")
    assert content(read(blank)).strip() == "[The page is larger than 5 MiB; the rest was not read.]"


def test_a_compressed_page_is_read(site, read):
    squeezed = {"gzip": gzip.compress, "deflate": zlib.compress}
    for coding, compress in squeezed.items():
        page = site.page("/", compress(b"hello"), Content_Type="text/plain", Content_Encoding=coding)
        assert content(read(page)) == "hello"
    with pytest.raises(ToolError, match="cannot be read"):
        read(site.page("/", b"no gzip", Content_Type="text/plain", Content_Encoding="gzip"))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_does_not_go_off(site, read, layers):
    page = site.page("/", _bomb(layers), Content_Type="text/html", Content_Encoding=", ".join(["gzip"] * layers))
    tracemalloc.start()
    try:
        details = content(read(page, time_limit=30))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "larger than 5 MiB" in details
    assert peak < 40 * 2**20


def _bomb(layers: int) -> bytes:
    """256 MiB of spaces, compressed once or twice."""
    packers = [zlib.compressobj(wbits=31) for _ in range(layers)]

    def squeeze(data: bytes, *, finish: bool = False) -> bytes:
        for packer in packers:
            data = packer.compress(data) + (packer.flush() if finish else b"")
        return data

    return b"".join(squeeze(b" " * 2**20) for _ in range(256)) + squeeze(b"", finish=True)


@pytest.mark.parametrize(
    "piece", [b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: ", b""]
)
def test_a_slow_page_is_given_up_after_the_time_for_all_of_it(site, read, piece):
    """Each byte comes soon after the last: a limit of each wait would wait for ever."""

    def answer(handler) -> None:
        handler.wfile.write(piece)
        for _ in range(1200):
            if site.closing.wait(0.05):
                return
            handler.wfile.write(b"x" if piece else b"")

    began = time.monotonic()
    with pytest.raises(ToolError, match="did not load within"):
        read(site.serve("/", answer), time_limit=0.5)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
                                    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000, b"HTTP/1.1 999999 OK\r\n\r\n",
                                    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])  # fmt: skip
def test_a_server_that_breaks_off_or_speaks_no_http_is_an_error(site, read, answer):
    def write(handler) -> None:
        handler.wfile.write(answer)
        handler.close_connection = True

    with pytest.raises(ToolError, match="cannot be read"):
        read(site.serve("/", write))


def test_a_server_that_is_not_there_is_an_error(read):
    with Site() as gone:
        page = gone.page("/", "hi")
    with pytest.raises(ToolError, match="cannot be read"):
        read(page)


@pytest.mark.slow
def test_hostile_html_takes_no_more_than_a_moment(site, read):
    size = fetch_url.MAX_BYTES
    for unit in ("<b>", "<div>", "<ul><li>", "<a href=/x>", "<table><tr><td>", "<p><b x=1>", "<img>", "</x>", "<!--"):
        began = time.monotonic()
        read(site.page("/", (unit * (size // len(unit) + 1))[:size], Content_Type="text/html"), time_limit=90)
        assert time.monotonic() - began < 60, unit


@pytest.fixture(scope="module")
def open_product(tmp_path_factory):
    """A server whose agents may read pages of this machine."""
    with Product(tmp_path_factory.mktemp("open") / "var", FETCH_ALLOW_PRIVATE="true") as running:
        yield running


@pytest.fixture
def read_by_chat(open_chat, model, name):
    """What an agent's call of the tool came to, as the socket shows it; the model was told the same."""

    def play(product: Product, url: str) -> dict:
        model.script(name, [[{"tool_call": {"name": "fetch_url", "arguments": {"url": url}}}], [{"text": "read"}]])
        product.add_agent(name, model.base_url, builtin_tools=["fetch_url"])
        chat = open_chat(name, on=product, after=0)
        assert chat.ask("read it", agent_name=name)["data"]["status"] == "completed"
        steps = [frame["data"] for frame in chat.fold.of_type("reasoning_step")]
        result = next(step for step in steps if step["type"] == "tool_result")
        assert model.requests(name)[1]["messages"][-1]["content"] == result["content"]
        return result

    return play


@pytest.mark.slow
def test_an_agent_reads_a_page(site, open_product, read_by_chat):
    site.page("/", "<h1>Café</h1><a href=/x>more</a>", Content_Type="text/html")
    result = read_by_chat(open_product, site.redirect("/old", "/"))
    assert not result["is_error"]
    assert result["content"].endswith(f"# Café\n\nmore ({site.url}/x)")


@pytest.mark.slow
def test_an_agent_reads_no_page_of_this_machine_unless_that_is_allowed(site, product, read_by_chat):
    result = read_by_chat(product, site.page("/", "inside", Content_Type="text/plain"))
    assert result["is_error"]
    assert "private network" in result["content"]
    assert site.connections == 0

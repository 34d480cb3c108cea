"""Where requests may go whose URL a model or a user chose: names, what they lead to, redirects, rebinding."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Sequence

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from agents_app.engine.web.guarded_client import AddressRefused, check_url, guarded_client, is_allowed
from agents_app.engine.web.resolving import FETCHES
from tests.harness.network import Names, Network

PUBLIC, PUBLIC_TOO, PUBLIC_IPV6 = "93.184.216.34", "151.101.1.69", "2606:2800:220:1:248:1893:25c8:1946"

NEVER = [
    "169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.7", "192.88.99.1",
    "100.100.100.200", "168.63.129.16",
    "::", "fe80::1", "ff02::1", "fec0::1", "100::1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1", "fd00:ec2::254",
    "::8.8.8.8", "::ffff:0:8.8.8.8",  # IPv4-compatible and -translated
    "2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1",  # 6to4
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:0:808:808::1",  # Teredo
    "64:ff9b:1::a00:1", "64:ff9b::a9fe:a9fe", "::ffff:169.254.169.254", "::ffff:0.0.0.0",  # NAT64, mapped
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "100.64.0.1", "100.127.255.255", "::1", "fc00::1", "fdff::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1",
]  # fmt: skip
GLOBAL = [
    PUBLIC, PUBLIC_TOO, PUBLIC_IPV6, "8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255",
    "100.128.0.1", "223.255.255.254", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:4860:4860::8888", "2a00::1",
]  # fmt: skip


@pytest.fixture
def network(site) -> Network:
    return Network(site.port)


def get(url: str, names: Names, network: Network, *, allow_private=False, method="GET", **options) -> httpx2.Response:
    async def ask() -> httpx2.Response:
        opened = guarded_client(allow_private=allow_private, timeout=30, resolve=names, network=network)
        async with opened as client:
            return await client.request(method, url, **options)

    return asyncio.run(ask())


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize(("addresses", "private", "public"), [(NEVER, False, False), (PRIVATE, True, False),
                                                              (GLOBAL, True, True)])  # fmt: skip
def test_what_an_address_is_open_to(addresses, private, public):
    for address in map(ipaddress.ip_address, addresses):
        assert is_allowed(address, allow_private=True) is private, address
        assert is_allowed(address, allow_private=False) is public, address


@given(st.ip_addresses())
def test_what_python_knows_not_to_be_public_is_refused(address):
    plain = getattr(address, "ipv4_mapped", None) or address
    if plain in ipaddress.ip_network("64:ff9b::/96") if plain.version == 6 else False:
        plain = ipaddress.IPv4Address(int(plain) & 0xFFFFFFFF)
    if not plain.is_global or plain.is_multicast or plain.is_reserved or plain.is_link_local or plain.is_unspecified:
        assert not is_allowed(address, allow_private=False)


@pytest.mark.parametrize("address", NEVER + PRIVATE)
def test_no_request_goes_to_an_address_that_is_not_public(address, network):
    names = Names([PUBLIC])
    with pytest.raises(AddressRefused):
        get(f"http://{bracketed(address)}/", names, network)
    assert (names.queries, network.connected) == ([], [])


@pytest.mark.parametrize("answer", [*([address] for address in NEVER + PRIVATE), [PUBLIC, "10.0.0.1"],
                                    ["127.0.0.1", PUBLIC], [PUBLIC_IPV6, "::1"], ["fe80::1%2"]])  # fmt: skip
def test_no_request_goes_to_a_name_with_any_such_answer(answer, network):
    with pytest.raises(AddressRefused, match="evil"):
        get("http://evil.example/", Names(answer), network)
    assert network.connected == []


ODD = [
    "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "0x7f.0x0.0x0.0x1",
    "127.0.0.1.", "127.0.0.1..", "2130706433.", "0x7f000001.", "0", "0x", "00", "1.2.3.4.5", "999.1.1.1", "1.2.3.256",
    "127。0。0。1", "１２７.0.0.1", "①②⑦.0.0.1", "127%2e0%2e0%2e1", "%31%32%37.0.0.1", "a.0x7f", "example.com.127",
    "[::ffff:7f00:1]", "[::1%25lo]", "[fe80::1%25eth0]", "[::1]%2e", "[v1.fe80]", "[", "[::1", "::1",
    "localhost", "LOCALHOST", "localhost.", "a.localhost", "ｌocalhost", "ⓛocalhost", "ſ.localhost",
    "exa mple.com", "a..b", ".", "..", "-" * 64 + ".com", "a." * 127 + "com", "a\\b.com", "a\tb.com", "ex%61mple.com",
    "*.example.com", "a,b", "a;b", "a$b", "", "a" * 64,
]  # fmt: skip


@pytest.mark.parametrize("host", ODD)
def test_no_odd_spelling_gets_through_to_the_resolver(host, network):
    names = Names([PUBLIC])
    with pytest.raises(AddressRefused):
        check_url(f"http://{host}/", allow_private=False)
    with pytest.raises((AddressRefused, httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
        get(f"http://{host}/", names, network)
    assert (names.queries, network.connected) == ([], [])


@pytest.mark.parametrize("url", [
    "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "example.com", "//example.com/", "/path", "",
    "http:example.com", "http:/example.com", "http:///path", "javascript:alert(1)", "data:text/plain,x", "ws://e.org/",
    "http://user@example.com/", "http://user:secret@example.com/", "http://:secret@example.com/",
    "http://example.com:0/", "http://example.com:65536/", "http://example.com:-1/", "http://example.com:x/",
    "http://example.com\\@10.0.0.1/", "http://e.org/" + "a" * 70_000, "http://\x00/",
    "http://[::1]@evil/", "http://10.0.0.1:80\r\nHost: x/",
])  # fmt: skip
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(AddressRefused) as refused:
        check_url(url, allow_private=True)
    assert "secret" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("rest", ["#@10.0.0.1:x@/", "?@10.0.0.1/", "/@10.0.0.1/", ":80/#http://10.0.0.1/"])
def test_the_host_of_a_url_is_the_one_that_is_asked(rest, site, network):
    assert check_url(f"http://example.com{rest}", allow_private=False).host == "example.com"
    for path in ("/?@10.0.0.1/", "/@10.0.0.1/"):
        site.page(path)
    assert get(f"http://example.com{rest}", Names([PUBLIC]), network).status_code == 200
    assert network.connected == [(PUBLIC, 80)]


def test_the_connection_is_made_to_the_address_that_was_checked(site, network):
    names = Names([PUBLIC])
    answer = get("http://www.Example.com/", names, network)
    assert (answer.status_code, answer.text) == (200, "hello")
    assert names.queries == ["www.example.com"]
    assert network.connected == [(PUBLIC, 80)]
    assert site.requests[0].headers["Host"] == "www.example.com"


def test_a_name_in_other_letters_and_a_port(site, network):
    names = Names([PUBLIC_IPV6])
    assert get("http://bücher.example:8080/", names, network).status_code == 200
    assert names.queries == ["xn--bcher-kva.example"]
    assert network.connected == [(PUBLIC_IPV6, 8080)]
    assert site.requests[0].headers["Host"] == "xn--bcher-kva.example:8080"


def test_a_name_that_is_rebound_is_not_followed(network):
    names = Names([PUBLIC], ["127.0.0.1"])
    assert get("http://evil.example/", names, network).status_code == 200
    assert (names.queries, network.connected) == (["evil.example"], [(PUBLIC, 80)])
    with pytest.raises(AddressRefused):
        get("http://evil.example/", names, network)
    assert len(network.connected) == 1


def test_redirects_are_checked_even_where_the_client_follows_them(site, network):
    site.redirect("/to-private", "http://10.0.0.1/")
    site.redirect("/to-a-name", "http://evil.example/")
    site.redirect("/to-a-file", "file:///etc/passwd")
    site.redirect("/with-a-password", "http://a:b@example.com/")
    for path in ("/to-private", "/to-a-name", "/to-a-file", "/with-a-password"):
        names = Names([PUBLIC], ["127.0.0.1"])
        with pytest.raises((AddressRefused, httpx2.UnsupportedProtocol)):
            get(f"http://example.com{path}", names, network, follow_redirects=True)
    assert {address for address, _ in network.connected} == {PUBLIC}
    assert get("http://example.com/to-private", Names([PUBLIC]), network).status_code == 302


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_may_be_allowed(address, network):
    assert get(f"http://{bracketed(address)}/", Names([]), network, allow_private=True).status_code == 200
    assert get("http://inside.example/", Names([address]), network, allow_private=True).status_code == 200
    assert {ipaddress.ip_address(each) for each, _ in network.connected} == {ipaddress.ip_address(address)}


def test_this_very_machine_by_its_real_name(site):
    async def ask(*, allow_private: bool) -> str:
        async with guarded_client(allow_private=allow_private, timeout=30, resolve=FETCHES.of(None)) as client:
            return (await client.get(f"http://localhost:{site.port}/")).text

    assert asyncio.run(ask(allow_private=True)) == "hello"
    with pytest.raises(AddressRefused, match="private network"):
        asyncio.run(ask(allow_private=False))
    assert site.connections == 1


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_allowed(address, network):
    with pytest.raises(AddressRefused):
        get(f"http://{bracketed(address)}/", Names([]), network, allow_private=True)
    with pytest.raises(AddressRefused):
        get("http://inside.example/", Names([address]), network, allow_private=True)
    assert network.connected == []


def test_the_next_address_is_tried_where_one_is_down(site):
    network = Network(site.port, down=[PUBLIC_IPV6, PUBLIC])
    assert get("http://example.com/", Names([PUBLIC_IPV6, PUBLIC, PUBLIC_TOO]), network).status_code == 200
    assert [address for address, _ in network.connected] == [PUBLIC_IPV6, PUBLIC, PUBLIC_TOO]
    network.down = [PUBLIC]
    with pytest.raises(httpx2.ConnectError):
        get("http://example.com/", Names([PUBLIC]), network)


def test_a_name_that_nobody_knows_is_an_error_of_the_connection(network):
    with pytest.raises(httpx2.ConnectError, match="cannot be resolved"):
        get("http://nobody.example/", Names([]), network)

    async def fail(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    with pytest.raises(httpx2.ConnectError, match="cannot be resolved"):
        get("http://nobody.example/", fail, network)


def test_a_resolver_that_hangs_is_given_up():
    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def ask() -> None:
        async with guarded_client(allow_private=False, timeout=0.05, resolve=hang) as client:
            await client.get("http://example.com/")

    with pytest.raises(httpx2.ConnectTimeout, match="did not answer in time"):
        asyncio.run(ask())


def test_a_proxy_of_the_environment_is_not_asked(site, network, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid:3128")
    assert get("http://example.com/", Names([PUBLIC]), network).status_code == 200
    assert network.connected == [(PUBLIC, 80)]


def test_a_body_can_be_sent(site, network):
    read: list[bytes] = []

    def answer(handler) -> None:
        read.append(handler.rfile.read(int(handler.headers["Content-Length"])))
        handler.send_response(204)
        handler.end_headers()

    site.serve("/hook", answer)
    answer = get("http://example.com/hook", Names([PUBLIC]), network, method="POST", content=b'{"a": 1}')
    assert (answer.status_code, read) == (204, [b'{"a": 1}'])


def certificate(folder, name: str) -> ssl.SSLContext:
    """A server's context, whose certificate is its own authority: `folder/certificate.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize(("host", "is_theirs"), [("example.com", True), ("example.com.", True), ("other.org", False)])
def test_https_names_the_host_and_checks_its_certificate(tmp_path, host, is_theirs):
    theirs = certificate(tmp_path, "example.com")
    seen: list[str | None] = []
    theirs.sni_callback = lambda _socket, name, _context: seen.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def ask() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=theirs)
        async with server:
            network = Network(server.sockets[0].getsockname()[1])
            trusted = ssl.create_default_context(cafile=tmp_path / "certificate.pem")
            opened = guarded_client(
                allow_private=False, timeout=30, resolve=Names([PUBLIC]), network=network, ssl_context=trusted
            )
            async with opened as client:
                return (await client.get(f"https://{host}/")).text

    if is_theirs:
        assert asyncio.run(ask()) == "ok"
    else:
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            asyncio.run(ask())
    assert seen == [host.removesuffix(".")]

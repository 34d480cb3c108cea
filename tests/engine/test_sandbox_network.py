"""The way of a sandbox to the internet: what it lets through, and what it refuses."""

import asyncio
import http.server
import ipaddress
import sys
import threading
from collections.abc import Iterator

import pytest

from agents_app.engine import mcp, sandbox
from agents_app.engine.sandbox import availability, bubblewrap, gateway
from agents_app.engine.sandbox.gateway import HostRules
from agents_app.engine.spec import ProcessLimits, SandboxSpec
from agents_app.engine.web.address_rules import AddressRefused
from tests.harness.fakes.mcp_servers import clock, everything, filesystem

CLIENT = """
import http.client, os, urllib.request, urllib.error
print(urllib.request.urlopen("http://files.example/plain").read().decode())
proxy = os.environ["HTTPS_PROXY"].rpartition("/")[2]
connection = http.client.HTTPConnection(proxy)
connection.set_tunnel("files.example", 443)
connection.request("GET", "/tunnel")
print(connection.getresponse().read().decode())
try:
    urllib.request.urlopen("http://elsewhere.example/")
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode().strip())
"""


class _Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the path and the host."""

    def do_GET(self) -> None:
        body = f"{self.path} of {self.headers['Host']}, {self.headers['Connection']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def internet(monkeypatch) -> Iterator[None]:
    """Every name has a public address, and behind every address is the same server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        async def resolve(host: str, port: int) -> list[str]:
            return ["93.184.216.34"]

        async def connect(addresses: list[str], port: int):
            assert addresses == ["93.184.216.34"]
            return await asyncio.open_connection(*server.server_address, local_addr=("127.0.0.2", 0))

        monkeypatch.setattr(gateway._RESOLVER, "of", lambda _: resolve)
        monkeypatch.setattr(gateway, "_open_first", connect)
        yield
        server.shutdown()


async def output(spec: SandboxSpec, folder: str, code: str) -> tuple[str, tuple[str, ...]]:
    command = sandbox.Command("client", sys.executable, ("-c", code), (), folder, ProcessLimits(), spec)
    process = await sandbox.start(command)
    try:
        out, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
        return (out + errors).decode(), process.refused
    finally:
        await process.end()


def test_a_sandbox_reaches_the_hosts_that_it_may(tmp_path, internet):
    text, refused = asyncio.run(output(SandboxSpec(True, ("files.*",)), str(tmp_path), CLIENT))
    assert text.splitlines() == [
        "/plain of files.example, close",
        "/tunnel of files.example:443, None",
        "403 The sandbox does not let you connect to elsewhere.example:80 (not in its list of hosts).",
    ]
    assert refused == ("elsewhere.example:80 (not in its list of hosts)",)


@pytest.mark.parametrize(
    ("hosts", "host", "address", "allowed"),
    [
        ((), "example.com", "93.184.216.34", True),
        ((), "example.com", "10.0.0.1", False),
        ((), "metadata", "169.254.169.254", False),
        ((), "10.0.0.1", "10.0.0.1", False),
        (("*.example.com",), "api.example.com", "93.184.216.34", True),
        (("*.example.com",), "example.org", "93.184.216.34", False),
        (("*.example.com",), "api.example.com", "10.0.0.1", False),
        (("jira", "10.1.0.0/16"), "jira", "10.1.2.3", True),
        (("jira", "10.1.0.0/16"), "jira", "10.2.2.3", False),
        (("10.1.0.0/16",), "10.1.2.3", "10.1.2.3", True),
        (("0.0.0.0/0", "*"), "here", "127.0.0.1", False),
        (("0.0.0.0/0", "*"), "here", "169.254.169.254", False),
        (("::/0", "*"), "here", "::ffff:127.0.0.1", False),
        (("*",), "localhost", "127.0.0.1", False),
    ],
)
def test_hosts_and_addresses_have_rules(hosts, host, address, allowed):
    rules = HostRules(hosts)

    def ask() -> bool:
        try:
            rules.check_name(host)
            rules.check_address(ipaddress.ip_address(address))
        except AddressRefused:
            return False
        return True

    assert ask() is allowed


@pytest.mark.parametrize("server", [everything, filesystem, clock])
def test_an_official_server_works_in_its_default_sandbox(tmp_path, server):
    folder = tmp_path / "var" / "mcp" / "it"
    spec = server(folder, sandbox=SandboxSpec(network=True, hidden=(str(tmp_path / "var"),)))

    async def story():
        try:
            return await mcp.check(spec)
        finally:
            await mcp.close_servers()

    report = asyncio.run(story())
    assert report.ok and report.tools and not report.refused, report.message


def test_nothing_starts_without_a_sandbox_that_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(bubblewrap, "PROGRAM", "no-such-bwrap")
    monkeypatch.setattr(availability, "_last", availability._Attempt())
    with pytest.raises(sandbox.CannotStart, match="there is none here: bubblewrap is not installed"):
        asyncio.run(output(SandboxSpec(False), str(tmp_path), "print(json)"))

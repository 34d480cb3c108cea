"""Addresses where clouds keep credentials: known in every spelling, and refused when connecting."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from agents_app.engine import mcp, providers
from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.spec import Message, ModelSpec, Parameters, ServerSpec
from agents_app.exceptions import RunFailed
from agents_app.integrations import providers as checks
from agents_app.models import Provider
from agents_app.network import is_metadata, networks


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518",
        "0xA9.254.0xa9fe", "fd00:ec2::254", "fd00:ec2::23", "[fd00:ec2::1]", "fd00:42::42", "fd20:ce::254",
        "fe80::1%eth0", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::a9fe:a9fe", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "100.100.100.200", "168.63.129.16", "METADATA.google.internal.",
    ],
)  # fmt: skip
def test_every_spelling_of_a_metadata_address_is_recognized(host):
    assert is_metadata(host)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "::1", "fd00:43::42", "10.0.0.1", "ollama", "cafe", "8", "1.2.3.4.5", "", "4294967296"],
)
def test_other_addresses_are_fine(host):
    assert not is_metadata(host)


@pytest.fixture
def server(monkeypatch) -> Iterator[tuple[int, list[bytes]]]:
    """A server at an address that counts as a cloud's; the list gets what it is sent."""
    monkeypatch.setattr("agents_app.network.METADATA_NETWORKS", networks("127.0.0.0/8"))
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if data := connection.recv(65_536):
                        received.append(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], received
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_model_client_connects_to_none(server, kind, host, monkeypatch):
    port, received = server
    monkeypatch.setattr("agents_app.engine.model_turns.MAX_ATTEMPTS", 1)

    async def ask() -> None:
        model = await providers.open_model(ModelSpec(kind, f"http://{host}:{port}/v1", "sk-secret", (), "m", 8192))
        request = ModelRequest("m", "", [Message("user", "private")], (), Parameters(max_tokens=10))
        try:
            async for _ in model.stream(request):
                pass
        finally:
            await providers.close_models()

    with pytest.raises(RunFailed):
        asyncio.run(ask())
    assert received == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_check_of_a_provider_connects_to_none(server, host):
    port, received = server

    check = checks.check(Provider(name="lab", base_url=f"http://{host}:{port}/v1", api_key="sk-secret"))

    assert (check.ok, received) == (False, [])
    assert "cannot be reached: clouds keep credentials at this address" in check.message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("transport", ["sse", "streamable_http"])
def test_an_mcp_client_connects_to_none(server, host, transport):
    port, received = server

    async def check() -> mcp.ServerReport:
        spec = ServerSpec("far", transport, url=f"http://{host}:{port}/mcp", headers=(("Authorization", "secret"),))
        try:
            return await mcp.check(spec)
        finally:
            await mcp.close_servers()

    assert (asyncio.run(check()).ok, received) == (False, [])

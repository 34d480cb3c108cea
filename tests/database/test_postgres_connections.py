"""An attempt to connect that fails leaves no socket behind, whenever garbage is collected next."""

import asyncio
import gc
import socket
from collections.abc import Callable, Iterator

import psycopg
import pytest

from agents_app.database.postgres_connections import AsyncConnection, Connection


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing, as PostgreSQL does while it is short of processor time."""
    gc.collect()
    gc.disable()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        yield listening
    gc.enable()


def time_out(address: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        Connection.connect(f"{address} connect_timeout=2")


def time_out_on_a_loop(address: str) -> None:
    async def attempt() -> None:
        with pytest.raises(psycopg.OperationalError):
            await AsyncConnection.connect(f"{address} connect_timeout=2")

    asyncio.run(attempt())


def cancel(address: str) -> None:
    async def attempt() -> None:
        connecting = asyncio.create_task(AsyncConnection.connect(address))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    asyncio.run(attempt())


@pytest.mark.parametrize("fail", [time_out, time_out_on_a_loop, cancel])
def test_a_failed_attempt_closes_its_socket(server: socket.socket, fail: Callable[[str], None]):
    fail(f"host=127.0.0.1 port={server.getsockname()[1]} sslmode=disable")
    accepted, _ = server.accept()
    with accepted:
        accepted.settimeout(10)
        while accepted.recv(1024):  # b"" is its end; a socket that stays open is a time-out
            pass

"""Refuse connections to where clouds keep credentials, by the address that is connected to and not by the URL.

A name of a provider or an MCP server may resolve to such an address. Private addresses are fine: models run there.
"""

import socket
from typing import Any

import httpcore2

from agents_app.network import is_metadata

_CONNECTED = "connection.connect_tcp.complete"
_REFUSED = "clouds keep credentials at this address"


def trace(event: str, info: dict[str, Any]) -> None:
    """Check each new connection before anything is sent. Of a synchronous httpx2 request: the extension `trace`.

    Raises:
        ConnectError: the connection is not allowed.
    """
    if event == _CONNECTED and not _is_allowed(info["return_value"]):
        info["return_value"].close()
        raise httpcore2.ConnectError(_REFUSED)


async def async_trace(event: str, info: dict[str, Any]) -> None:
    """Do the same for an asynchronous request."""
    if event == _CONNECTED and not _is_allowed(info["return_value"]):
        await info["return_value"].aclose()
        raise httpcore2.ConnectError(_REFUSED)


def _is_allowed(stream: Any) -> bool:
    peer = stream.get_extra_info("server_addr")
    return not (isinstance(peer, tuple) and is_metadata(str(peer[0])))


def socket_factory(address: tuple[Any, ...]) -> socket.socket:
    """Return a socket for one of a host's addresses, for aiohttp's connector.

    Raises:
        OSError: the address is not allowed.
    """
    family, kind, protocol, _, target = address
    if is_metadata(str(target[0])):
        raise OSError(_REFUSED)
    return socket.socket(family, kind, protocol)

"""Addresses with a meaning: this machine's own, and those of a cloud's credentials. No Django: settings import this."""

import ipaddress
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(*texts: str) -> tuple[Network, ...]:
    """Parse networks such as `10.0.0.0/8`."""
    return tuple(ipaddress.ip_network(text) for text in texts)


# A cloud's machine reads its own credentials here. No model, tool or web page has such an address.
METADATA_NETWORKS = networks(
    "169.254.0.0/16", "fe80::/10",  # most clouds
    "100.100.100.200/32", "168.63.129.16/32",  # Alibaba, Azure
    "fd00:ec2::/32", "fd00:42::42/128", "fd20:ce::254/128",  # Amazon with EKS, Scaleway, Google
)  # fmt: skip
_METADATA_NAMES = ("metadata.google.internal", "metadata.goog")
_NAT64 = networks("64:ff9b::/96", "64:ff9b:1::/48")
_COMPATIBLE = ipaddress.ip_network("::/96")
# As the C library reads it: decimal, octal or hexadecimal, with one to four parts.
_NUMERIC = re.compile(r"(0x[0-9a-f]+|[0-9]+)(\.(0x[0-9a-f]+|[0-9]+)){0,3}")


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine alone: nobody else can reach what listens there."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_loopback_origin(origin: str) -> bool:
    """Whether the pages of `origin`, such as `http://localhost:5173`, are served on this machine."""
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False


def is_network(text: str) -> bool:
    """Whether `text` is an address or a network that `networks` parses."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def is_metadata(host: str) -> bool:
    """Whether `host`, a name or an address in any spelling, serves a cloud machine's credentials."""
    text = host.strip("[]").partition("%")[0].rstrip(".").lower()
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        if not _NUMERIC.fullmatch(text):
            return text in _METADATA_NAMES
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(text))
        except OSError:
            return False
    return any(each in network for each in _with_embedded(address) for network in METADATA_NETWORKS)


def _with_embedded(address: Address) -> Iterator[Address]:
    """Yield the address, and the IPv4 addresses that it stands for."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if any(address in network for network in (*_NAT64, _COMPATIBLE)):
            yield last
        yield from filter(None, (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())))

"""Addresses with a meaning: this machine's own, and those of a cloud's credentials. No Django: settings import this."""

import ipaddress
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(*texts: str) -> tuple[Network, ...]:
    """Parse networks such as `10.0.0.0/8`."""
    return tuple(ipaddress.ip_network(text) for text in texts)


# A cloud's machine reads its own credentials here. No model, tool or web page has such an address.
METADATA_NETWORKS = networks(
    "169.254.0.0/16", "fe80::/10", "100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::254/128"
)
_METADATA_NAME = "metadata.google.internal"


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
    """Whether `host`, a name or an address, serves a cloud machine's credentials."""
    try:
        address = ipaddress.ip_address(host.rstrip("."))
    except ValueError:
        return host.rstrip(".") == _METADATA_NAME
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in METADATA_NETWORKS)

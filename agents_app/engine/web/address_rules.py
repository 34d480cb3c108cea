"""The addresses that a connection may go to if a model, a user or a program of somebody else chose them.

A name is resolved once, every address is checked, and the connection goes to one of them: another lookup could return
another address.
"""

import ipaddress
import re
from collections.abc import Iterable

from agents_app.network import METADATA_NETWORKS, Address, networks


class AddressRefused(Exception):
    """The URL is not allowed. The text says why, for the model or user that chose it."""


# Tables of our own (IANA's registries of special purposes): those of `ipaddress` differ between patch releases.
_PRIVATE = networks(
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7",
)  # fmt: skip
_NEVER = METADATA_NETWORKS + networks(
    # this network, protocols, documentation, the relay of 6to4, measurements, multicast and reserved
    "0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    # protocols with Teredo, documentation, 6to4
    "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)  # fmt: skip
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_NAME = 253


def is_allowed(address: Address, *, allow_private: bool) -> bool:
    """Whether a request may go to this address. An IPv4 address inside an IPv6 address counts as itself."""
    address = _embedded(address)
    if any(address in network for network in _NEVER):
        return False
    if any(address in network for network in _PRIVATE):
        return allow_private
    return address.version == 4 or address in _GLOBAL_IPV6


def _embedded(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def check_host(host: str, allow_private: bool) -> None:
    """Check what the text of a host says of itself.

    Raises:
        AddressRefused: it is not allowed, or not a host.
    """
    address = literal_address(host)
    if address is not None:
        require_allowed([address], host, allow_private)
    elif _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise AddressRefused(f"The URL's host {host[:100]!r} must be a name, or an IP address in its usual spelling.")
    elif len(host) > _MAX_NAME or not _NAME.fullmatch(host):
        raise AddressRefused(f"The URL's host {host[:100]!r} is not the name of a host.")
    elif not allow_private and (host == "localhost" or host.endswith(".localhost")):
        raise _private(host)


def literal_address(host: str) -> Address | None:
    """Return the address in the text. One with a zone (`fe80::1%eth0`) is not accepted."""
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def require_allowed(addresses: Iterable[Address], host: str, allow_private: bool) -> None:
    """Check the addresses of a host.

    Raises:
        AddressRefused: one of them is not allowed.
    """
    if not all(is_allowed(address, allow_private=allow_private) for address in addresses):
        if all(is_allowed(address, allow_private=True) for address in addresses):
            raise _private(host)
        raise AddressRefused(f"The host {host!r} has an address that is not allowed.")


def _private(host: str) -> AddressRefused:
    return AddressRefused(f"The host {host!r} is in a private network, which is not allowed here.")

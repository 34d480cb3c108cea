"""Which hosts and origins may use this server, over HTTP or WebSocket."""

import ipaddress
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def client_address(address: str, forwarded_for: Sequence[str]) -> str:
    """Return the client's address: `address`, or by X-Forwarded-For what the first of our TRUSTED_PROXIES saw.

    What clients write into that header comes before what our proxies add, and is ignored.
    """
    if not settings.TRUSTED_PROXIES:
        return address
    trusted = forwarded_addresses(forwarded_for)[-settings.TRUSTED_PROXIES :]
    return trusted[0] if trusted and _is_address(trusted[0]) else address


def forwarded_addresses(forwarded_for: Sequence[str]) -> list[str]:
    """Return the addresses in the values of X-Forwarded-For, those of our own proxies last."""
    return [part.strip() for line in forwarded_for if line for part in line.split(",")]


def address_of(request: Any) -> str:
    """Return the client's address of an HTTP request: see `client_address`."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return client_address(request.META.get("REMOTE_ADDR", ""), [forwarded])


def network_of(address: str) -> str:
    """Return what one client has of addresses: an IPv4 address, or the /64 that an IPv6 one is in."""
    if not _is_address(address):
        return address
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address) or parsed.ipv4_mapped:
        return str(getattr(parsed, "ipv4_mapped", None) or parsed)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def host_allowed(host: str) -> bool:
    """Whether `host`, a Host header, is one of ours. A foreign name that resolves to us (DNS rebinding) is not."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


def origin_allowed(origin: str | None, host: str) -> bool:
    """Whether a page of `origin` may use this server. None is not a browser, and allowed; "null" is not allowed."""
    if origin is None:
        return True
    origin = origin.lower()
    return origin in _origins_of(host.lower()) or is_cors_origin(origin)


def is_cors_origin(origin: str) -> bool:
    """Whether CORS_ALLOWED_ORIGINS has this origin of another site."""
    return origin.lower() in {allowed.lower().rstrip("/") for allowed in settings.CORS_ALLOWED_ORIGINS}


def _origins_of(host: str) -> set[str]:
    """Return the origins of this host's pages. Browsers leave the scheme's default port out of an Origin."""
    if not host:
        return set()
    return {f"{scheme}://{host.removesuffix(port)}" for scheme, port in _DEFAULT_PORTS.items()} | {
        f"{scheme}://{host}" for scheme in _DEFAULT_PORTS
    }

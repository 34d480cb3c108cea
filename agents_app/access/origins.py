"""Which hosts and origins may use this server, over HTTP or WebSocket."""

import ipaddress
import logging
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

logger = logging.getLogger(__name__)

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_MOST_ADVISED, _LONGEST_LOGGED = 20, 200  # origins of one process; characters
_advised: set[str] = set()


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
    if _normalized(origin) in _origins_of(host.lower()) or is_cors_origin(origin):
        return True
    _advise(origin[:_LONGEST_LOGGED], host[:_LONGEST_LOGGED])
    return False


def is_cors_origin(origin: str) -> bool:
    """Whether CORS_ALLOWED_ORIGINS has this origin of another site."""
    return bool(origin) and _normalized(origin) in {
        _normalized(ours.rstrip("/")) for ours in settings.CORS_ALLOWED_ORIGINS
    }


def _normalized(origin: str) -> str:
    """Return an origin as browsers write it: without the scheme's default port."""
    origin = origin.lower()
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition("://")[0], "") or "\0")


def _advise(origin: str, host: str) -> None:
    """Log once per origin which setting helps: a proxy that replaces Host makes our own pages foreign."""
    if origin in _advised or len(_advised) >= _MOST_ADVISED:
        return
    _advised.add(origin)
    logger.warning(
        "Requests from pages of %r are rejected: their header Host is %r. If that is this server behind a proxy, let "
        "the proxy pass Host on (nginx: proxy_set_header Host $http_host). If it is another site that may use this "
        "server, add it to CORS_ALLOWED_ORIGINS.",
        origin,
        host,
    )


def _origins_of(host: str) -> set[str]:
    """Return the origins of this host's pages. Browsers leave the scheme's default port out of an Origin."""
    if not host:
        return set()
    return {_normalized(f"{scheme}://{host}") for scheme in _DEFAULT_PORTS}

"""Without sign-in every caller is an administrator: serve only this machine, and whom OPEN_TO names."""

import ipaddress
from collections.abc import Iterable, Sequence

from django.conf import settings

from agents_app.access.origins import client_address, forwarded_addresses
from agents_app.network import is_loopback, networks

_PROXY_HEADERS = {"forwarded", "via", "x-real-ip", "true-client-ip", "x-client-ip", "x-cluster-client-ip"}
_PROXY_PREFIXES = ("x-forwarded", "x-original-", "cf-")


def applies() -> bool:
    """Return whether requests must come from this machine: there is no sign-in, or DEBUG's pages show settings."""
    return settings.DEBUG or not settings.AUTH_REQUIRED


def proxy_header(names: Iterable[str]) -> str | None:
    """Return the first of these names of headers that only proxies and tunnels send."""
    lower = (name.lower() for name in names)
    return next((name for name in lower if name in _PROXY_HEADERS or name.startswith(_PROXY_PREFIXES)), None)


def refusal(peer: str, names: Iterable[str], forwarded_for: Sequence[str]) -> str | None:
    """Return why a request is not of this machine; None if it is.

    `peer` is the address of the connection, `names` are those of the headers, `forwarded_for` the values of
    X-Forwarded-For. A proxy or tunnel on this machine connects from loopback too, for anybody: what it adds tells.
    """
    if peer and not is_loopback(peer):
        return _sentence(f"this request came from {peer}")
    header = proxy_header(names)
    if header is None or _is_from_trusted_proxy(peer, forwarded_for):
        return None
    return _sentence(f"this request came through a proxy (header {header})")


def _is_from_trusted_proxy(peer: str, forwarded_for: Sequence[str]) -> bool:
    """Return whether our TRUSTED_PROXIES say that the client is one of those who need no sign-in."""
    if not 0 < settings.TRUSTED_PROXIES <= len(forwarded_addresses(forwarded_for)):
        return False
    address = client_address("", forwarded_for)
    return bool(address) and (is_loopback(address) or _is_named(address))


def _is_named(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in networks(*settings.OPEN_TO))


def _sentence(reason: str) -> str:
    return (
        f"Without sign-in this server answers its own machine only, and {reason}: set AUTH_REQUIRED=true. If nobody "
        "else can use the proxy, TRUSTED_PROXIES and OPEN_TO say who may come through it."
        if not settings.AUTH_REQUIRED
        else f"With DEBUG this server answers its own machine only, and {reason}: unset DEBUG."
    )

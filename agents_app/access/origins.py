"""Who may talk to us, over HTTP or WebSocket: hosts and origins."""

import ipaddress
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def client_address(address: str, forwarded_for: Sequence[str]) -> str:
    """Whose connection it is: `address`, or what the first of our own TRUSTED_PROXIES saw, by X-Forwarded-For.

    What clients themselves write into that header stands before what our proxies add, and does not count.
    """
    if not settings.TRUSTED_PROXIES:
        return address
    seen = [part.strip() for line in forwarded_for for part in line.split(",")]
    told = seen[-settings.TRUSTED_PROXIES :]
    return told[0] if told and _is_address(told[0]) else address


def address_of(request: Any) -> str:
    """Whose connection a request of HTTP came by: see `client_address`."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return client_address(request.META.get("REMOTE_ADDR", ""), [forwarded])


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def host_allowed(host: str) -> bool:
    """Whether `host`, a Host header, is one of ours: a foreign name that was made to lead to us is not."""
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


def origin_allowed(origin: str | None, host: str) -> bool:
    """Whether a page of `origin` may drive us. No Origin: not a browser, so allowed; "null" is not."""
    if origin is None:
        return True
    origin = origin.lower()
    return origin in _origins_of(host.lower()) or is_cors_origin(origin)


def is_cors_origin(origin: str) -> bool:
    """Whether the operator named this other site's origin in CORS_ALLOWED_ORIGINS."""
    return origin.lower() in {allowed.lower().rstrip("/") for allowed in settings.CORS_ALLOWED_ORIGINS}


def _origins_of(host: str) -> set[str]:
    """The origins of pages that this host serves. Browsers leave the scheme's usual port out of an Origin."""
    if not host:
        return set()
    return {f"{scheme}://{host.removesuffix(port)}" for scheme, port in _DEFAULT_PORTS.items()} | {
        f"{scheme}://{host}" for scheme in _DEFAULT_PORTS
    }

"""Who may talk to us, over HTTP or WebSocket: hosts, origins, and the caller where nobody signs in."""

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.http.request import split_domain_port, validate_host

from agents_app.exceptions import AgentError

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


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


def local_administrator():
    """The first active superuser: the caller of everything in the open mode.

    Raises:
        AgentError: there is none yet.
    """
    administrators = get_user_model().objects.filter(is_superuser=True, is_active=True)
    administrator = administrators.order_by("pk").first()
    if administrator is None:
        raise AgentError(
            "There is no administrator yet: run `manage.py serve`, or `manage.py createsuperuser`.",
            code="no_administrator",
        )
    return administrator


alocal_administrator = sync_to_async(local_administrator)

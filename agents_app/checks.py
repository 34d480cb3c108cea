"""System checks: settings that would be dangerous, or would not do what they look like. `manage.py check`."""

from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from agents_app.network import is_loopback
from agents_app.observability import tracing as traces


@register("agents_app")
def open_mode(app_configs, **kwargs) -> list[CheckMessage]:
    """Without sign-in, every caller is the administrator: nobody else may be able to call."""
    if settings.AUTH_REQUIRED:
        return []
    found: list[CheckMessage] = []
    if not is_loopback(settings.HOST):
        found.append(
            Error(
                f"HOST is {settings.HOST!r} and nobody has to sign in: all who reach it are administrators.",
                hint="Set HOST to 127.0.0.1, or AUTH_REQUIRED=true.",
                id="agents_app.E001",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Error(
                "ALLOWED_HOSTS has '*', and nobody has to sign in: any web page could rebind its name to us.",
                hint="List the names that people type into their browser.",
                id="agents_app.E002",
            )
        )
    return found


@register("agents_app")
def debug(app_configs, **kwargs) -> list[CheckMessage]:
    """DEBUG's error pages show settings and local variables."""
    if not settings.DEBUG or is_loopback(settings.HOST):
        return []
    return [
        Error(
            f"DEBUG is on, and HOST is {settings.HOST!r}: error pages would show our insides to others.",
            hint="Unset DEBUG, or set HOST to 127.0.0.1.",
            id="agents_app.E003",
        )
    ]


@register("agents_app")
def origins(app_configs, **kwargs) -> list[CheckMessage]:
    """An origin is a scheme, a host and maybe a port; anything else would never match."""
    return [
        Error(
            f"CORS_ALLOWED_ORIGINS has {origin!r}, which is no origin.",
            hint="Write it as https://app.example.com, with the port where it is not the usual one.",
            id="agents_app.E004",
        )
        for origin in settings.CORS_ALLOWED_ORIGINS
        if not _is_origin(origin)
    ]


def _is_origin(text: str) -> bool:
    try:
        url = urlsplit(text.rstrip("/"))
    except ValueError:
        return False
    bare = f"{url.scheme}://{url.netloc}"
    return url.scheme in ("http", "https") and bool(url.hostname) and text.rstrip("/") == bare


@register("agents_app")
def retention(app_configs, **kwargs) -> list[CheckMessage]:
    """A negative age would prune what is yet to come."""
    kinds = ("EVENT", "ARTIFACT", "RUN", "HISTORY")
    names = [*(f"{kind}_RETENTION_DAYS" for kind in kinds), "KEEP_RUNS_PER_SESSION"]
    return [
        Error(
            f"{name} is {getattr(settings, name)}.",
            hint="Set it to 0 to keep everything, or to a number of days; KEEP_RUNS_PER_SESSION to a number of runs.",
            id="agents_app.E005",
        )
        for name in names
        if getattr(settings, name) < 0
    ]


@register("agents_app")
def tracing(app_configs, **kwargs) -> list[CheckMessage]:
    """Traces that somebody asked for in words that we do not know would be missed in silence."""
    problem = traces.problem()
    return [Error(problem, hint="See docs/operations.md.", id="agents_app.E006")] if problem else []

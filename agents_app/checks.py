"""System checks of `manage.py check`: settings that are dangerous or have no effect."""

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import admin
from django.core.checks import CheckMessage, Error, Tags, register

from agents_app.network import is_loopback
from agents_app.observability import tracing as traces


@register(Tags.admin)
def admin_pages(app_configs, **kwargs) -> list[CheckMessage]:
    """Load the admin's pages, which a start does not do, and check them."""
    admin.autodiscover()
    return admin.site.check(app_configs)


@register("agents_app")
def open_mode(app_configs, **kwargs) -> list[CheckMessage]:
    """Without sign-in every caller is an administrator, so only this machine may connect."""
    if settings.AUTH_REQUIRED:
        return []
    errors: list[CheckMessage] = []
    if not is_loopback(settings.HOST):
        errors.append(
            Error(
                f"HOST is {settings.HOST!r} and no sign-in is required: everyone who reaches it is an administrator.",
                hint="Set HOST to 127.0.0.1, or AUTH_REQUIRED=true.",
                id="agents_app.E001",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        errors.append(
            Error(
                "ALLOWED_HOSTS has '*', and no sign-in is required: any web page can connect by DNS rebinding.",
                hint="List the host names that people type into their browser.",
                id="agents_app.E002",
            )
        )
    return errors


@register("agents_app")
def debug(app_configs, **kwargs) -> list[CheckMessage]:
    """The error pages of DEBUG show settings and local variables."""
    names = [*([] if is_loopback(settings.HOST) else ["HOST"]), *settings.SETTINGS_FOR_OTHERS]
    if not settings.DEBUG or not names:
        return []
    return [
        Error(
            f"DEBUG is on, and {', '.join(names)} lets others come: error pages show settings to them.",
            hint="Unset DEBUG, or serve this machine alone: HOST=127.0.0.1, and none of these settings.",
            id="agents_app.E003",
        )
    ]


@register("agents_app")
def origins(app_configs, **kwargs) -> list[CheckMessage]:
    """An origin is a scheme, a host and maybe a port; anything else never matches."""
    return [
        Error(
            f"CORS_ALLOWED_ORIGINS has {origin!r}, which is not an origin.",
            hint="Write it as https://app.example.com, with the port if it is not the default.",
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
    """A negative age would delete everything."""
    kinds = ("EVENT", "FILE", "RUN", "HISTORY")
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
    """Tracing that is configured in an unknown way would be missing silently."""
    problem = traces.problem()
    return [Error(problem, hint="See docs/operations.md.", id="agents_app.E006")] if problem else []

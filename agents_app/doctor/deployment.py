"""Dangerous settings, as `manage.py check --deploy` reports them, and the static files of the pages."""

from collections.abc import Iterator

from django.conf import settings
from django.contrib.staticfiles import finders
from django.core import checks

from agents_app.doctor.findings import Finding, broken, ok, one_line, warning

_HTTPS = {"security.W004", "security.W008", "security.W012", "security.W016"}  # HTTPS=true fixes all of them


def configuration() -> Iterator[Finding]:
    """Run the system checks, with those of a deployment if other machines may connect."""
    messages = checks.run_checks()
    if settings.AUTH_REQUIRED:
        messages += checks.run_checks(tags=[checks.Tags.security], include_deployment_checks=True)
    messages = [message for message in messages if not message.is_silenced() and message.level >= checks.WARNING]
    for message in messages:
        if message.id not in _HTTPS:
            finding = broken if message.level >= checks.ERROR else warning
            yield finding("settings", one_line(f"{message.msg} ({message.id})"), one_line(message.hint or ""))
    if any(message.id in _HTTPS for message in messages):
        remedy = "Set HTTPS=true behind a proxy that terminates TLS: docs/security.md."
        yield warning("https", "It is off: cookies and tokens may be sent unencrypted.", remedy)
    if not messages:
        mode = "sign-in is required" if settings.AUTH_REQUIRED else "no sign-in, for this machine only"
        yield ok("settings", f"No problems; {mode}.")


def static_files() -> Iterator[Finding]:
    """Check that scripts and styles of the pages are installed."""
    if finders.find("admin/css/base.css") and finders.find("chat_app"):
        yield ok("static files", "Installed.")
    else:
        yield broken("static files", "Scripts and styles of the pages are missing.", "Reinstall the product.")

"""Settings that would be dangerous, as `manage.py check --deploy` finds them; and what pages are made of."""

from collections.abc import Iterator

from django.conf import settings
from django.contrib.staticfiles import finders
from django.core import checks

from agents_app.doctor.findings import Finding, broken, ok, one_line, warning

_HTTPS = {"security.W004", "security.W008", "security.W012", "security.W016"}  # all that HTTPS=true settles


def configuration() -> Iterator[Finding]:
    """Django's checks and ours. Those of a deployment count where others than this machine's may come in."""
    asked = checks.run_checks()
    if settings.AUTH_REQUIRED:
        asked += checks.run_checks(tags=[checks.Tags.security], include_deployment_checks=True)
    found = [message for message in asked if not message.is_silenced() and message.level >= checks.WARNING]
    for message in found:
        if message.id not in _HTTPS:
            grave = broken if message.level >= checks.ERROR else warning
            yield grave("settings", one_line(f"{message.msg} ({message.id})"), one_line(message.hint or ""))
    if any(message.id in _HTTPS for message in found):
        remedy = "Set HTTPS=true behind a proxy that ends TLS: docs/security.md."
        yield warning("https", "It is off: cookies and tokens may go over the network in clear.", remedy)
    if not found:
        mode = "one has to sign in" if settings.AUTH_REQUIRED else "nobody has to sign in, on this machine only"
        yield ok("settings", f"Nothing is wrong with them; {mode}.")


def static_files() -> Iterator[Finding]:
    """Whether the pages' scripts and styles are installed."""
    if finders.find("admin/css/base.css") and finders.find("chat_app"):
        yield ok("static files", "They are there.")
    else:
        yield broken("static files", "The pages' scripts and styles are missing.", "Install the product anew.")

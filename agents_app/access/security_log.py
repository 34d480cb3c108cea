"""The security log: who signed in, and who changed tokens, roles, keys and servers. For operators to alert on."""

import contextvars
import logging
from typing import Any

from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_save
from django.http import HttpRequest

from agents_app.access import counters
from agents_app.access.origins import address_of, network_of
from agents_app.exceptions import RateLimited

logger = logging.getLogger("agents_app.security")

MOST_FAILURES = 30  # lines of an address in a QUARTER: whoever fails on purpose must not fill the log
QUARTER = 15 * 60  # seconds
_UNKNOWN = "(unknown)"
# What the change log is written for, and also concerns security: by the name of the model.
_CHANGES = {
    "user": "user_changed",
    "group": "group_changed",
    "provider": "provider_changed",
    "mcpserver": "mcp_server_changed",
    "apitoken": "token_changed",
}
client_address: contextvars.ContextVar[str] = contextvars.ContextVar("client_address", default="")


def record(event: str, *, user: str = "", by: str = "", **details: str) -> None:
    """Log an event. `user` is whom or what it concerns, `by` who did it; no value may be a secret."""
    fields = {"event": event, "user": user, "by": by, "address": client_address.get(), **details}
    text = " ".join(f"{name}={value!r}" for name, value in fields.items() if value and name != "event")
    logger.info("%s %s", event, text, extra={"fields": fields})


def record_failure(event: str, *, user: str = "") -> None:
    """Log an attempt to get in that failed: so many of an address (of IPv6, a /64) in a quarter of an hour."""
    try:
        count = counters.take("failures logged", network_of(client_address.get()), limit=MOST_FAILURES, seconds=QUARTER)
    except RateLimited:
        return
    last = {"note": "more of this address are not logged for now"} if count == MOST_FAILURES else {}
    record(event, user=user, **last)


def watch() -> None:
    """Record what Django signals: people who sign in and out, and rows of the change log."""
    user_logged_in.connect(_signed_in, dispatch_uid="security log")
    user_logged_out.connect(_signed_out, dispatch_uid="security log")
    user_login_failed.connect(_sign_in_failed, dispatch_uid="security log")
    post_save.connect(_changed, sender=LogEntry, dispatch_uid="security log")


def remember_address(request: HttpRequest) -> None:
    """Keep the client's address for what this request records."""
    client_address.set(address_of(request))


def _signed_in(sender: Any, user: Any, **kwargs: Any) -> None:
    record("sign_in", user=user.get_username(), by=user.get_username())


def _signed_out(sender: Any, user: Any, **kwargs: Any) -> None:
    if user is not None:
        record("sign_out", user=user.get_username(), by=user.get_username())


def _sign_in_failed(sender: Any, credentials: dict[str, Any], **kwargs: Any) -> None:
    name = str(credentials.get("username", ""))
    record_failure("sign_in_failed", user=existing_name(name))


def existing_name(name: str) -> str:
    """Return the name if a user has it: people also type passwords there."""
    is_existing = "\x00" not in name and get_user_model().objects.filter(username=name).exists()
    return name if is_existing else _UNKNOWN


def _changed(sender: Any, instance: LogEntry, created: bool, **kwargs: Any) -> None:
    event = _CHANGES.get(instance.content_type.model) if instance.content_type else None
    if created and event:
        if event == "token_changed" and instance.action_flag == DELETION:
            event = "token_revoked"
        change = instance.get_action_flag_display().lower()
        details = instance.get_change_message()[:300]
        record(event, user=instance.object_repr, by=instance.user.get_username(), change=change, details=details)

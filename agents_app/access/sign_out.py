"""Sign a user out everywhere: of all browsers, and of all programs if asked."""

from typing import Any

from agents_app.access import browser_sessions, security_log
from agents_app.models import ApiToken, Ticket


def everywhere(user: Any, *, by: str, with_tokens: bool) -> None:
    """End all browser sessions of the user, with the sockets and streams opened in them; the tokens too if asked."""
    Ticket.objects.filter(user=user).delete()
    browser_sessions.end_all_of(user)
    if with_tokens:
        ApiToken.objects.filter(user=user).delete()
    security_log.record("sign_out_everywhere", user=user.get_username(), by=by, tokens="revoked" if with_tokens else "")

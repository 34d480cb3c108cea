"""Credentials of callers: API tokens, and tickets of the chat socket."""

import datetime
import hashlib
import secrets
import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from knox.crypto import hash_token
from knox.models import AbstractAuthToken, AuthTokenManager

TICKET_SECONDS = 60
_USE_INTERVAL = datetime.timedelta(minutes=1)


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def visible_to(self, user: Any) -> "ApiTokenQuerySet":
        """Return the user's own tokens: not even an administrator manages those of others."""
        return self.filter(user=user)

    def valid(self) -> "ApiTokenQuerySet":
        """Return the tokens that have not expired and whose user is active."""
        unexpired = models.Q(expiry__isnull=True) | models.Q(expiry__gt=timezone.now())
        return self.filter(unexpired, user__is_active=True)

    def of(self, text: str) -> "ApiToken | None":
        """Return the valid token with this text."""
        if not text.isascii() or len(text) > 200:
            return None
        return self.valid().filter(digest=hash_token(text)).select_related("user").first()


class ApiToken(AbstractAuthToken):
    """A token of a user's programs, stored as its hash, with the user's rights until it expires or is revoked."""

    class Scope(models.TextChoices):
        MANAGE = "manage", "manage: all that its user may do"
        RUN = "run", "run: no changes of agents, providers, MCP servers and tokens"

    uid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100, help_text="Purpose of the token.")
    scope = models.CharField(
        max_length=16, choices=Scope, default=Scope.MANAGE, help_text="What programs may do with it."
    )
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="Last use, to the minute.")
    made_with = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        editable=False,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="API token that created this one, and takes it along when it is revoked.",
    )

    objects = AuthTokenManager.from_queryset(ApiTokenQuerySet)()

    class Meta:
        ordering: ClassVar = ["-created"]
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} ({self.token_key}…)"

    @property
    def may_manage(self) -> bool:
        return self.scope == self.Scope.MANAGE

    def mark_used(self) -> None:
        """Record the moment of use, at most once a minute, so that not every read is a write."""
        now = timezone.now()
        if self.last_used_at is None or self.last_used_at < now - _USE_INTERVAL:
            with transaction.atomic():
                ApiToken.objects.filter(pk=self.pk).update(last_used_at=now)
            self.last_used_at = now


class TicketQuerySet(models.QuerySet["Ticket"]):
    def issue(self, user: Any, token: ApiToken | None, session_hash: str | None = None) -> str:
        """Return the text of a new ticket, valid once and for TICKET_SECONDS. Only its hash is stored.

        It opens nothing any more once the token or the session, of which `session_hash` is the key's hash, has ended.
        """
        now = timezone.now()
        text = secrets.token_urlsafe(32)
        expires_at = now + datetime.timedelta(seconds=TICKET_SECONDS)
        with transaction.atomic():
            self.filter(expires_at__lt=now).delete()
            self.create(
                digest=_digest(text), user=user, token=token, session_hash=session_hash or "", expires_at=expires_at
            )
        return text

    def redeem(self, text: str) -> "Ticket | None":
        """Return the ticket with this text if it is unused: of two callers at once, one gets it."""
        matching = self.filter(digest=_digest(text))
        with transaction.atomic():
            if not matching.filter(used=False, expires_at__gt=timezone.now()).update(used=True):
                return None
        tokens = ApiToken.objects.valid()
        made_with = models.Q(token=None) | models.Q(token__in=tokens)
        return matching.filter(made_with, user__is_active=True).select_related("user", "token").first()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Ticket(models.Model):
    """Lets a page open one chat socket, because a page cannot send a token in a header there."""

    digest = models.CharField(primary_key=True, max_length=64)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    token = models.ForeignKey(
        ApiToken,
        null=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="API token that requested the ticket.",
    )
    session_hash = models.CharField(
        max_length=40,
        blank=True,
        default="",
        help_text="Hash of the key of the browser's session that requested the ticket.",
    )
    expires_at = models.DateTimeField(db_index=True)
    used = models.BooleanField(default=False)

    objects = TicketQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.user}, until {self.expires_at:%H:%M:%S}"

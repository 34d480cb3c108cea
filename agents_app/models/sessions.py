"""Sessions: the conversations that runs are in."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from agents_app.models.agents import Agent

# Not '.' and '..': clients treat these as folders, so that no address could name the session.
SESSION_ID = r"\A(?!\.{1,2}\Z)[A-Za-z0-9_.:-]{1,128}\Z"
SESSION_ID_RULE = "must be 1 to 128 of the characters A-Z a-z 0-9 _ . : - and neither '.' nor '..'"


class SessionQuerySet(models.QuerySet["Session"]):
    def visible_to(self, user) -> "SessionQuerySet":
        """Return the sessions that `user` may read and use: their own; all for an administrator."""
        return self if user.is_superuser else self.filter(owner=user)


class Session(models.Model):
    """A conversation. Its log counts 1, 2, 3 …, and every watcher reads the same."""

    id = models.CharField(primary_key=True, max_length=128, validators=[RegexValidator(SESSION_ID)])
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    agent = models.ForeignKey(
        Agent,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Agent of messages that name none.",
    )
    title = models.CharField(max_length=200, blank=True)
    last_seq = models.BigIntegerField(default=0, help_text="Number of the newest event.")
    pruned_seq = models.BigIntegerField(default=0, help_text="Number of the newest pruned event.")
    run_count = models.BigIntegerField(default=0, help_text="Number of the newest run.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    _COUNTERS: ClassVar = {"last_seq", "pruned_seq", "run_count"}

    objects = SessionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "id"]
        indexes: ClassVar = [models.Index(fields=["-created_at", "id"], name="session_newest")]

    def __str__(self) -> str:
        return self.title or self.id

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Save the row. Leave out the counters of an existing one, which change meanwhile, unless they are named."""
        if update_fields is None and not self._state.adding:
            fields = (field.name for field in self._meta.concrete_fields if not field.primary_key)
            update_fields = [name for name in fields if name not in self._COUNTERS]
        super().save(*args, update_fields=update_fields, **kwargs)

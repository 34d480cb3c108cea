"""Sessions: the conversations that runs are in."""

import re
import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from agents_app.database.prepared import Parameter, Prepared
from agents_app.models.agents import Agent
from agents_app.models.metadata import validate_metadata

# Not '.' and '..': clients treat these as folders, so that no address could name the session.
SESSION_ID = r"\A(?!\.{1,2}\Z)[A-Za-z0-9_.:-]{1,128}\Z"
SESSION_ID_RULE = "must be 1 to 128 of the characters A-Z a-z 0-9 _ . : - and neither '.' nor '..'"


class SessionQuerySet(models.QuerySet["Session"]):
    def visible_to(self, user) -> "SessionQuerySet":
        """Return the sessions that `user` may read and use: their own; all for an administrator."""
        return self.filter(deleted_at=None) if user.is_superuser else self.filter(owner=user.pk)

    def named(self, *names: str) -> "SessionQuerySet":
        """Return the sessions of these names or ids, whoever owns them."""
        return self.filter(Q(pk__in=names) | Q(name__in=names))


_NAMED = Prepared(
    lambda: (
        Session.objects.select_related("agent")
        .filter(Q(owner=Parameter("user"), name=Parameter("session_id")) | Q(pk=Parameter("session_id")))
        .order_by()[:2]
    )
)


class SessionManager(models.Manager.from_queryset(SessionQuerySet)):  # type: ignore[misc]
    """Finds sessions by what clients call them."""

    def resolve(self, user, session_id: str) -> "Session | None":
        """Return the session that `user` means by a `session_id`: the own one of that name, else the one of that id.

        An id finds the sessions of others too: see `is_visible_to`.
        """
        if not re.match(SESSION_ID, session_id):
            return None
        rows = _NAMED.all(user=user.pk, session_id=session_id)
        own = (row for row in rows if row.owner_id == user.pk and row.name == session_id)
        return next(own, rows[0] if rows else None)

    def find(self, user, session_id: str) -> "Session | None":
        """Return the session that `user` means by a `session_id` and may use; None if there is none."""
        session = self.resolve(user, session_id)
        return session if session and session.is_visible_to(user) else None


def make_session_id() -> str:
    """Return the id of a new session. It is never used again, so that nobody takes a session for a deleted one."""
    return str(uuid.uuid4())


class Session(models.Model):
    """A conversation. Its log counts 1, 2, 3 …, and every watcher reads the same.

    Its `name` is its owner's own: `session_id` of clients. Rows, logs and channels refer to its `id`, by which
    others address it.
    """

    id = models.CharField(
        primary_key=True, max_length=128, default=make_session_id, validators=[RegexValidator(SESSION_ID)]
    )
    name = models.CharField(
        max_length=128,
        blank=True,
        validators=[RegexValidator(SESSION_ID)],
        help_text="Name that its owner addresses it by. Leave empty to use the id.",
    )
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    agent = models.ForeignKey(
        Agent,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Agent of messages that name none.",
    )
    title = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_metadata],
        help_text="Texts that prompts of agents name as {{metadata.KEY}}.",
    )
    last_seq = models.BigIntegerField(default=0, help_text="Number of the newest event.")
    pruned_seq = models.BigIntegerField(default=0, help_text="Number of the newest pruned event.")
    run_count = models.BigIntegerField(default=0, help_text="Number of the newest run.")
    chosen = models.BigIntegerField(
        null=True, editable=False, help_text="Number of the run that the next one follows. Empty for the newest."
    )
    parent = models.ForeignKey(
        "self",
        null=True,
        editable=False,
        db_index=False,  # see the indexes below
        on_delete=models.SET_NULL,
        related_name="forks",
        help_text="Session that this one was forked from, whose beginning it shares.",
    )
    parent_run = models.UUIDField(null=True, editable=False, help_text="Run after which this session was forked.")
    parent_seq = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="Events up to this number are in the log of the parent."
    )
    parent_count = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="Runs up to this number are those of the parent."
    )
    deleted_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="Moment of its deletion, if forks still need its beginning. Nobody sees it.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    _COUNTERS: ClassVar = {"last_seq", "pruned_seq", "run_count", "chosen", "deleted_at"}

    objects = SessionManager()

    class Meta:
        ordering: ClassVar = ["-created_at", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name", "owner"], name="session_name_of_owner"),
            models.UniqueConstraint(fields=["name"], condition=Q(owner=None), name="session_name_of_nobody"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-created_at", "id"], name="session_newest"),
            models.Index(fields=["parent"], condition=Q(parent__isnull=False), name="session_forks"),
        ]

    def __str__(self) -> str:
        return self.title or self.name

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Save the row. Leave out the counters of an existing one, which change meanwhile, unless they are named."""
        if self._state.adding and not self.name:
            self.name = self.pk
        if update_fields is None and not self._state.adding:
            fields = (field.name for field in self._meta.concrete_fields if not field.primary_key)
            update_fields = [name for name in fields if name not in self._COUNTERS]
        super().save(*args, update_fields=update_fields, **kwargs)

    def is_visible_to(self, user) -> bool:
        """Whether `user` may read and use the session: see `SessionQuerySet.visible_to`."""
        return self.deleted_at is None and (user.is_superuser or self.owner_id == user.pk)

    @property
    def head(self) -> int:
        """The number of the run at the end of the chosen path, which the next run follows. 0 if there is none."""
        return self.run_count if self.chosen is None else self.chosen

    def address_for(self, user) -> str:
        """Return the `session_id` by which `user` addresses the session: its name if it is the user's, else its id."""
        return self.name if self.owner_id == user.pk else self.pk

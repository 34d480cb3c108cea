"""Tokens that users have used, per day. Deleting a session does not change them."""

import datetime
from collections.abc import Collection
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.utils import timezone

# Reads the saved rows, so that a run counts with its saved usage. Ordered by user, so that two workers that end runs of
# the same two users cannot deadlock.
_ADD = """
INSERT INTO agents_app_tokenuse (user_id, day, tokens)
SELECT session.owner_id, %s, SUM(
    COALESCE(CAST(run.usage->>'input_tokens' AS BIGINT), 0) + COALESCE(CAST(run.usage->>'output_tokens' AS BIGINT), 0))
FROM agents_app_run run JOIN agents_app_session session ON session.id = run.session_id
WHERE run.id IN ({ids}) AND session.owner_id IS NOT NULL
GROUP BY session.owner_id ORDER BY session.owner_id
ON CONFLICT (user_id, day) DO UPDATE SET tokens = agents_app_tokenuse.tokens + excluded.tokens
"""


def today() -> datetime.date:
    """Return the present day in UTC."""
    return timezone.now().astimezone(datetime.UTC).date()


class TokenUseQuerySet(models.QuerySet["TokenUse"]):
    def add(self, run_ids: Collection[UUID]) -> None:
        """Add the usage of these runs, in the transaction that ends them."""
        if not run_ids:
            return
        day = connection.ops.adapt_datefield_value(today())
        statement = _ADD.format(ids=", ".join(["%s"] * len(run_ids)))
        native = connection.features.has_native_uuid_field
        with connection.cursor() as cursor:
            cursor.execute(statement, [day, *(pk if native else pk.hex for pk in run_ids)])

    def of_today(self, user: Any) -> int:
        """Return the input and output tokens of the user's runs that ended today."""
        return self.filter(user=user, day=today()).values_list("tokens", flat=True).first() or 0


class TokenUse(models.Model):
    """A user's tokens of one day."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    day = models.DateField(help_text="In UTC.")
    tokens = models.BigIntegerField(help_text="Input and output tokens of the runs that ended on this day.")

    objects = TokenUseQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-day", "user"]
        verbose_name_plural = "token use"
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "day"], name="token_use_once_a_day")]

    def __str__(self) -> str:
        return f"{self.user}, {self.day}: {self.tokens}"

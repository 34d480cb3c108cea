"""Periodic chores that one process at a time does."""

import datetime
from typing import ClassVar

from django.db import models


class ChoreQuerySet(models.QuerySet["Chore"]):
    def take(self, name: str, *, seen: datetime.datetime, until: datetime.datetime) -> bool:
        """Claim the chore that was due at `seen`. Of many callers, one gets True.

        If that one does not finish, the chore is due again at `until`.
        """
        return bool(self.filter(pk=name, next_at=seen).update(next_at=until))


class Chore(models.Model):
    """A chore, and when it is due next."""

    name = models.CharField(primary_key=True, max_length=32)
    next_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True, blank=True, help_text="Time of the last completion.")
    result = models.TextField(blank=True, help_text="Result of the last completion.")

    objects = ChoreQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

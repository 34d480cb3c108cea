"""What some process does now and then, and only one of them each time."""

import datetime
from typing import ClassVar

from django.db import models


class ChoreQuerySet(models.QuerySet["Chore"]):
    def take(self, name: str, *, seen: datetime.datetime, until: datetime.datetime) -> bool:
        """Whether the chore that was due at `seen` is ours to do: of many who ask, one is told yes.

        Whoever does not finish it has it taken from him at `until`.
        """
        return bool(self.filter(pk=name, next_at=seen).update(next_at=until))


class Chore(models.Model):
    """A chore, and when it is to be done next."""

    name = models.CharField(primary_key=True, max_length=32)
    next_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True, blank=True, help_text="When it was done last.")
    result = models.TextField(blank=True, help_text="What came of it then.")

    objects = ChoreQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

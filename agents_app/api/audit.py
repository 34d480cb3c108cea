"""What administrators change over REST is written where the admin writes what they change there."""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.db import models

__all__ = ["ADDITION", "CHANGE", "DELETION", "record"]


def record(user: Any, row: models.Model, flag: int, fields: Iterable[str] = ()) -> None:
    """Write down who did it, in the caller's transaction, with the names of the fields; their values may be secret."""
    if user.is_superuser:
        names = ", ".join(sorted(str(name)[:100] for name in fields))
        message = f"Over REST: {names}." if names else "Over REST."
        LogEntry.objects.log_actions(user.pk, [row], flag, message, single_object=True)

"""Write what administrators change over REST to the admin's log."""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.db import models

__all__ = ["ADDITION", "CHANGE", "DELETION", "record"]


def record(user: Any, row: models.Model, flag: int, fields: Iterable[str] = ()) -> None:
    """Log the change in the caller's transaction, with the names of the fields: their values may be secret."""
    if user.is_superuser:
        names = ", ".join(sorted(str(name)[:100] for name in fields))
        message = f"Over REST: {names}." if names else "Over REST."
        LogEntry.objects.log_actions(user.pk, [row], flag, message, single_object=True)

"""The row of a kind that is used where nobody names one."""

from django.db import models, transaction


def make_default(row: models.Model) -> None:
    """Make this row the default, instead of the present one."""
    rows = type(row)._default_manager
    with transaction.atomic():
        rows.filter(is_default=True).exclude(pk=row.pk).update(is_default=False)
        rows.filter(pk=row.pk).update(is_default=True)
    row.is_default = True  # type: ignore[attr-defined]

"""Format numbers for the control room."""

import datetime

from django import template

from agents_app.admin import status
from agents_app.admin.base import dollars

register = template.Library()
register.filter("dollars", dollars)
register.filter("age", status.age)


@register.filter
def since(moment: datetime.datetime | None) -> str:
    """How long ago that was."""
    return status.age(max(0.0, status.since(moment))) if moment else "never"


@register.filter
def until(moment: datetime.datetime) -> str:
    """How far ahead that is."""
    seconds = -status.since(moment)
    return f"in {status.age(seconds)}" if seconds > 0 else "now"


@register.filter
def grouped(number: int) -> str:
    """1234567 as 1,234,567."""
    return f"{number:,}"

"""Budgets in the admin, with what they have left."""

from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from agents_app.admin.base import AdministratorsWrite, FastAdmin, OnlyVisible, dollars, short
from agents_app.models import Budget
from agents_app.models.budgets import NANO, period_end
from agents_app.runs.budgets import agents_without_price


@admin.register(Budget)
class BudgetAdmin(AdministratorsWrite, OnlyVisible, FastAdmin):
    """What runs may cost, and have cost."""

    list_display = ("name", "scope", "target", "period", "action", "limits", "spent_so_far", "left_now", "enabled")
    list_filter = ("scope", "period", "action", "enabled")
    list_select_related = ("user", "group", "agent", "token")
    search_fields = ("name",)
    autocomplete_fields = ("user", "group", "agent", "token")
    readonly_fields = ("spent_so_far", "in_progress", "left_now", "resets_at", "created_at", "updated_at")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.amount is not None and obj.unknown_price is None and (unpriced := agents_without_price()):
            text = (
                f"It does not count runs of agents whose model has no known price: {short(', '.join(unpriced), 300)}."
            )
            messages.warning(request, f"{text} Enter the price, or set “Unknown price”.")

    @admin.display(description="limit")
    def limits(self, budget: Budget) -> str:
        return _both(budget.amount, budget.tokens)

    @admin.display(description="spent")
    def spent_so_far(self, budget: Budget) -> str:
        return _both(budget.spent_now, budget.spent_tokens_now)

    @admin.display(description="reserved", empty_value="–")
    def in_progress(self, budget: Budget) -> str:
        return _both(Decimal(budget.reserved) / NANO, budget.reserved_tokens)

    @admin.display(description="left")
    def left_now(self, budget: Budget) -> str:
        return _both(budget.left, budget.left_tokens)

    @admin.display(description="resets at", empty_value="never")
    def resets_at(self, budget: Budget) -> Any:
        return period_end(budget.period)


def _both(money: Any, tokens: int | None) -> str:
    texts = [dollars(money)] if money is not None else []
    return " · ".join([*texts, f"{tokens:,} tokens"] if tokens is not None else texts)

"""Budgets as JSON."""

import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents_app.api.serializers.fields import Number, StrictModel
from agents_app.models import Agent, ApiToken, Budget
from agents_app.models.budgets import period_end

_MOST = 10_000_000  # US dollars


class NameField(serializers.SlugRelatedField):
    """A row by the column that names it."""

    default_error_messages: ClassVar = {"does_not_exist": "There is no {value!r}.", "invalid": "Use a name."}

    def __init__(self, slug_field: str, queryset: Any, help_text: str) -> None:
        super().__init__(slug_field=slug_field, queryset=queryset, allow_null=True, required=False, help_text=help_text)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data[:150])


@extend_schema_field(OpenApiTypes.UUID)
class TokenField(NameField):
    """An API token by its id."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return super().to_internal_value(data)
        except ValueError:
            self.fail("does_not_exist", value=str(data)[:50])

    def to_representation(self, token: Any) -> str:
        return str(token.uid)


@extend_schema_field(OpenApiTypes.DOUBLE)
class Dollars(Number):
    """US dollars, to the millionth."""

    def to_internal_value(self, data: Any) -> Decimal:  # type: ignore[override]
        dollars = Decimal(repr(super().to_internal_value(data)))
        return dollars.quantize(Decimal("0.000001")) if abs(dollars) < _MOST else dollars


def _dollars(help_text: str) -> Dollars:
    return Dollars(min_value=0, max_value=_MOST - 1, required=False, allow_null=True, help_text=help_text)


class BudgetSerializer(StrictModel):
    """What runs may cost in a period, and what they have cost. `amount` or `tokens` is required."""

    user = NameField("username", get_user_model().objects.all(), "Name of the user, if the scope is `user`.")
    group = NameField("name", Group.objects.all(), "Name of the group, if the scope is `group`.")
    agent = NameField("name", Agent.objects.all(), "Name of the agent, if the scope is `agent`.")
    token = TokenField("uid", ApiToken.objects.all(), "Id of the API token, if the scope is `token`.")
    amount = _dollars("US dollars per period. Null to limit tokens only.")
    unknown_price = _dollars(
        "US dollars per million tokens of a model whose price is unknown. Null to count it as free."
    )
    spent = serializers.SerializerMethodField(help_text="US dollars in the present period.")
    spent_tokens = serializers.IntegerField(source="spent_tokens_now", read_only=True)
    left = serializers.SerializerMethodField(
        help_text="US dollars that are neither spent nor reserved for turns in progress. Null if money is not limited."
    )
    left_tokens = serializers.IntegerField(read_only=True, allow_null=True)
    resets_at = serializers.SerializerMethodField(help_text="End of the period. Null if it never ends.")

    class Meta:
        model = Budget
        fields = (
            "name",
            "scope",
            "user",
            "group",
            "agent",
            "token",
            "period",
            "amount",
            "tokens",
            "action",
            "unknown_price",
            "enabled",
            "spent",
            "spent_tokens",
            "left",
            "left_tokens",
            "resets_at",
            "created_at",
            "updated_at",
        )

    def get_spent(self, budget: Budget) -> float:
        return float(budget.spent_now)

    def get_left(self, budget: Budget) -> float | None:
        return None if budget.left is None else float(budget.left)

    def get_resets_at(self, budget: Budget) -> datetime.datetime | None:
        return period_end(budget.period)

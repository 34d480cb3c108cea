"""Budgets: what runs may cost in a period, in money or tokens, and what they have cost."""

import dataclasses
import datetime
import time
from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models, transaction

from agents_app import clock
from agents_app.models.agents import Agent
from agents_app.models.tokens import ApiToken

NANO = 10**9  # money is counted in billionths of a US dollar: whole numbers, which both databases add exactly
ALWAYS = datetime.date(1970, 1, 1)  # the start of the period of a budget that never resets
_RULES_AGE = 2.0  # seconds for which a process may use rules that another process has changed


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """What a run must know of a budget that it may have to keep to. The limits themselves are read from the row."""

    id: int
    name: str
    scope: str
    target: Any
    period: str
    action: str
    unknown_price: Decimal

    def start(self) -> datetime.date:
        """Return the first day of the present period."""
        return period_start(self.period)

    def nano(self, cost: Decimal | None, tokens: int) -> int:
        """Return what a usage costs in this budget, also if its price is unknown (None)."""
        if cost is None:
            cost = self.unknown_price * tokens / 1_000_000
        return int((cost * NANO).to_integral_value())


def period_start(period: str) -> datetime.date:
    """Return the first day of the present period, in UTC."""
    today = clock.now().astimezone(datetime.UTC).date()
    return {Budget.Period.DAY: today, Budget.Period.MONTH: today.replace(day=1)}.get(period, ALWAYS)  # type: ignore[call-overload]


def period_end(period: str) -> datetime.datetime | None:
    """Return the moment at which the present period ends: midnight UTC; None if it never does."""
    start = period_start(period)
    if period == Budget.Period.TOTAL:
        return None
    days = 1 if period == Budget.Period.DAY else 32
    end = start + datetime.timedelta(days=days)
    if period == Budget.Period.MONTH:
        end = end.replace(day=1)
    return datetime.datetime.combine(end, datetime.time(), datetime.UTC)


class BudgetQuerySet(models.QuerySet["Budget"]):
    def visible_to(self, user: Any) -> "BudgetQuerySet":
        """Return the budgets of the user, of the user's groups and tokens; an administrator sees all."""
        if user.is_superuser:
            return self
        groups = Group.objects.filter(user=user.pk)
        own = models.Q(user=user.pk) | models.Q(group__in=groups) | models.Q(token__user=user.pk)
        return self.filter(own)

    def with_targets(self) -> "BudgetQuerySet":
        return self.select_related("user", "group", "agent", "token")


class Budget(models.Model):
    """What the runs of a user, group, agent, token or of the server may cost in a period.

    `spent` and `reserved` are changed by `event_log.charges` alone: `save` leaves them as they are.
    """

    class Scope(models.TextChoices):
        SERVER = "server"
        USER = "user"
        GROUP = "group"
        AGENT = "agent"
        TOKEN = "token"  # noqa: S105 — a word, no secret

    class Period(models.TextChoices):
        DAY = "day"
        MONTH = "month"
        TOTAL = "total"

    class Action(models.TextChoices):
        STOP = "stop"
        WARN = "warn"
        ASK = "ask"

    TARGETS: ClassVar = (Scope.USER, Scope.GROUP, Scope.AGENT, Scope.TOKEN)

    name = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=16, choices=Scope, default=Scope.SERVER, help_text="Whose runs count.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    token = models.ForeignKey(
        ApiToken,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name="API token",
        help_text="Runs started with it, or with a token that it created.",
    )
    period = models.CharField(
        max_length=16, choices=Period, default=Period.MONTH, help_text="Days and months begin at midnight UTC."
    )
    amount = models.DecimalField(
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text="US dollars per period. Leave empty to limit tokens only.",
    )
    tokens = models.BigIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="Input and output tokens per period. Leave empty to limit money only.",
    )
    action = models.CharField(
        max_length=16,
        choices=Action,
        default=Action.STOP,
        help_text="If the budget is reached: stop runs, only warn, or ask a person for each run whether it may go on.",
    )
    unknown_price = models.DecimalField(
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text="US dollars per million tokens of a model whose price is unknown. Leave empty to count it as free.",
    )
    enabled = models.BooleanField(default=True)
    spent = models.BigIntegerField(default=0, editable=False, help_text="Billionths of a US dollar in the period.")
    spent_tokens = models.BigIntegerField(default=0, editable=False)
    reserved = models.BigIntegerField(default=0, editable=False, help_text="For the model turns in progress.")
    reserved_tokens = models.BigIntegerField(default=0, editable=False)
    period_start = models.DateField(
        null=True, editable=False, help_text="First day of the period in which `spent` was counted, in UTC."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = BudgetQuerySet.as_manager()

    COUNTERS: ClassVar = {"spent", "spent_tokens", "reserved", "reserved_tokens", "period_start"}

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(amount__isnull=False) | models.Q(tokens__isnull=False), name="budget_has_a_limit"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, **options: Any) -> None:
        if not self._state.adding and options.get("update_fields") is None:
            names = {field.name for field in self._meta.concrete_fields if not field.primary_key}
            options["update_fields"] = names - self.COUNTERS
        super().save(**options)
        transaction.on_commit(forget_rules)

    def delete(self, *args: Any, **options: Any) -> Any:
        transaction.on_commit(forget_rules)
        return super().delete(*args, **options)

    def clean(self) -> None:
        """Check what fields say together.

        Raises:
            ValidationError: names the fields.
        """
        if self.amount is None and self.tokens is None:
            raise ValidationError({"amount": "Set 'amount' or 'tokens': a budget needs a limit."})
        for name in self.TARGETS:
            is_set, is_needed = getattr(self, f"{name}_id") is not None, self.scope == name
            if is_needed and not is_set:
                raise ValidationError({name: f"Set '{name}': the scope is '{name}'."})
            if is_set and not is_needed:
                raise ValidationError({name: f"Leave '{name}' empty: the scope is '{self.scope}'."})

    def rule(self) -> Rule:
        target = getattr(self, f"{self.scope}_id") if self.scope in self.TARGETS else None
        if self.scope == self.Scope.TOKEN and self.token:
            target = self.token.uid
        return Rule(self.pk, self.name, self.scope, target, self.period, self.action, self.unknown_price or Decimal(0))

    @property
    def target(self) -> Any:
        """Return the user, group, agent or token whose runs count; None for those of the server."""
        return getattr(self, self.scope) if self.scope in self.TARGETS else None

    @property
    def is_current(self) -> bool:
        return self.period_start is not None and self.period_start >= period_start(self.period)

    @property
    def spent_now(self) -> Decimal:
        """Return the US dollars spent in the present period."""
        return Decimal(self.spent if self.is_current else 0) / NANO

    @property
    def spent_tokens_now(self) -> int:
        return self.spent_tokens if self.is_current else 0

    @property
    def left(self) -> Decimal | None:
        """Return the US dollars that are neither spent nor reserved; None if money is not limited."""
        if self.amount is None:
            return None
        return max(Decimal(0), self.amount - self.spent_now - Decimal(self.reserved) / NANO)

    @property
    def left_tokens(self) -> int | None:
        return None if self.tokens is None else max(0, self.tokens - self.spent_tokens_now - self.reserved_tokens)

    @property
    def share(self) -> float:
        """Return the share of the limit that is spent, the larger one of money and tokens; a limit of 0 is spent."""
        shares = [0.0]
        if self.amount is not None:
            shares.append(float(self.spent_now / self.amount) if self.amount else 1.0)
        if self.tokens is not None:
            shares.append(self.spent_tokens_now / self.tokens if self.tokens else 1.0)
        return max(shares)

    @property
    def is_reached(self) -> bool:
        return 0 in (self.left, self.left_tokens)


class Reservation(models.Model):
    """What an unfinished run has counted in a budget, and what its model turn in progress has reserved.

    `counted` is the run's cost that `Budget.spent` has, so counting the same cost again changes nothing. Without
    constraints of the database: the transaction that writes a worker's log must not fail for them.
    """

    budget = models.ForeignKey(Budget, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False)
    run_id = models.UUIDField(db_index=True)
    counted = models.BigIntegerField(default=0)
    counted_tokens = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)
    reserved_tokens = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["budget", "run_id"], name="reservation_once_per_budget_and_run"),
        ]

    def __str__(self) -> str:
        return f"{self.budget_id}: {self.run_id}"


class _Cache:
    """The rules of this process, read anew when they are old."""

    def __init__(self) -> None:
        self.rules: tuple[Rule, ...] = ()
        self.valid_until = 0.0
        self.changes = 0


_cache = _Cache()


def forget_rules() -> None:
    _cache.valid_until = 0.0
    _cache.changes += 1


def cached_rules() -> tuple[Rule, ...] | None:
    """Return the rules of all enabled budgets without a query; None if `rules` has to read them."""
    return _cache.rules if time.monotonic() < _cache.valid_until else None


def rules() -> tuple[Rule, ...]:
    """Return the rules of all enabled budgets, a moment old at most."""
    cached = cached_rules()
    if cached is None:
        changes, valid_until = _cache.changes, time.monotonic() + _RULES_AGE
        rows = Budget.objects.filter(enabled=True).select_related("token").order_by("pk")
        cached = _cache.rules = tuple(row.rule() for row in rows)
        if _cache.changes == changes:  # none while they were read
            _cache.valid_until = valid_until
    return cached

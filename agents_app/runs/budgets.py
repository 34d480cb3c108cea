"""Which budgets a run keeps to, and whether they have room for one more run."""

import datetime
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from django.contrib.auth.models import Group

from agents_app import clock
from agents_app.event_log import charges
from agents_app.exceptions import BudgetReached
from agents_app.models import Agent, ApiToken, Approval, Budget, Provider, Run
from agents_app.models.budgets import Rule, period_end, rules
from agents_app.runs.pricing import tariff

QUESTION = "budget"  # in the place of a tool's name, of the question whether a run may exceed a budget
_GO_ON = "Go on"
OPTIONS = [_GO_ON, "Stop"]
_NEVER = datetime.timedelta(days=30)  # what a client is told to wait for a budget that never resets


@dataclass(frozen=True, slots=True)
class Subject:
    """Who pays for a run. `tokens`: the API token that started it, and those that it was created with."""

    owner_id: int | None
    agent_id: int | None
    groups: frozenset[int] = frozenset()
    tokens: frozenset[uuid.UUID] = frozenset()

    def matches(self, rule: Rule) -> bool:
        """Return whether the budget counts the run."""
        match rule.scope:
            case Budget.Scope.SERVER:
                return True
            case Budget.Scope.USER:
                return rule.target == self.owner_id
            case Budget.Scope.GROUP:
                return rule.target in self.groups
            case Budget.Scope.AGENT:
                return rule.target == self.agent_id
        return rule.target in self.tokens


@dataclass(frozen=True, slots=True)
class Left:
    """What the tightest budgets have left: US dollars and tokens; None if none limits them."""

    money: Decimal | None
    tokens: int | None


def subject(*, owner_id: int | None, agent_id: int | None, token: uuid.UUID | None) -> Subject:
    """Return who pays for a run. Groups and tokens are read only if there are budgets of such."""
    scopes = {rule.scope for rule in rules()}
    groups: Collection[int] = ()
    if Budget.Scope.GROUP in scopes:
        groups = Group.objects.filter(user=owner_id).values_list("pk", flat=True)
    tokens = _with_creators(token) if token and Budget.Scope.TOKEN in scopes else ()
    return Subject(owner_id, agent_id, frozenset(groups), frozenset(tokens))


def payer_of(run: Run) -> Subject:
    """Return who pays for a run, which was read with its session."""
    return subject(owner_id=run.session.owner_id, agent_id=run.agent_id, token=run.token)


def question_id(rule: Rule) -> str:
    """Return the id of the question whether a run may exceed the budget."""
    return f"budget-{rule.id}"


def answers_of(run: Run) -> dict[str, bool]:
    """Return whether people have allowed the run to exceed budgets, by the ids of the questions."""
    decided = Approval.objects.filter(run=run, tool_name=QUESTION, kind=Approval.Kind.QUESTION)
    decided = decided.exclude(status=Approval.Status.PENDING)
    return {each.tool_call_id: each.response == _GO_ON for each in decided}


def _with_creators(uid: uuid.UUID) -> list[uuid.UUID]:
    """Return the token and those that it was created with: a token cannot leave its budget by creating another."""
    chain = [uid]  # of any length, which the number of a user's tokens bounds: its first one may have the budget
    while creator := ApiToken.objects.filter(uid=chain[-1]).values_list("made_with__uid", flat=True).first():
        chain.append(creator)
    return chain


def admit(*, owner_id: int | None, agent_id: int | None, token: uuid.UUID | None) -> Left | None:
    """Return what the budgets of a new run have left; None if it has none.

    Raises:
        BudgetReached: one that stops runs has nothing left.
    """
    if not (all_rules := rules()):
        return None
    payer = subject(owner_id=owner_id, agent_id=agent_id, token=token)
    ids = [rule.id for rule in all_rules if payer.matches(rule)]
    if not ids:
        return None
    rows = Budget.objects.filter(pk__in=ids).order_by("pk")
    budgets = [_checked(row) for row in rows]
    return Left(
        min((each.left for each in budgets if each.left is not None), default=None),
        min((each.left_tokens for each in budgets if each.left_tokens is not None), default=None),
    )


def _checked(row: Budget) -> Budget:
    if row.action != Budget.Action.STOP or not row.is_reached:
        return row
    money, tokens = charges.lost(row.pk)
    row.reserved, row.reserved_tokens = row.reserved - money, row.reserved_tokens - tokens
    if row.is_reached:
        raise reached(row.rule())
    return row


def reached(rule: Rule) -> BudgetReached:
    """Return the error of a budget that has nothing left."""
    end = period_end(rule.period)
    if end is None:
        return BudgetReached(f"The budget {rule.name!r} is used up.", retry_after=_NEVER.total_seconds())
    text = f"The budget {rule.name!r} of this {rule.period} is used up. It resets on {end:%Y-%m-%d} at midnight UTC."
    return BudgetReached(text, retry_after=(end - clock.now()).total_seconds())


def agents_without_price() -> list[str]:
    """Return the names of enabled agents whose model has no known price: budgets in money count them as configured."""
    default = Provider.objects.default()
    names = []
    for agent in Agent.objects.enabled().select_related("provider").order_by("name"):
        provider = agent.provider or default
        if provider is not None:
            model = agent.model or provider.default_model
            if tariff(provider, model).cost({"requests": 1, "input_tokens": 1000}) is None:
                names.append(agent.name)
    return names

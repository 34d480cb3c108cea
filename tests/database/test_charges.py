"""What runs cost is counted once in each budget, and what their turns reserve is given back."""

from decimal import Decimal

import pytest
from django.db import transaction

from agents_app.event_log import charges
from agents_app.event_log.charges import Charge, Share
from agents_app.models import Budget, Reservation, Run, Session

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def run(admin_user):
    def make(name):
        session = Session.objects.create(owner=admin_user, name=name)
        return Run.objects.create(session=session, number=1, prompt="x", agent_name="a", status="running").pk

    return make


def apply(run, cost, tokens, *budgets, reserve=0, is_last=False):
    """Return the name of the budget that has no room; None if all have."""
    shares = [Share(budget.rule(), reserve * 1_000_000) for budget in budgets]
    charge = Charge(run, Decimal(cost), tokens, shares, reserve, is_last=is_last)
    with transaction.atomic():
        charges.apply([charge])
    return charge.refused and charge.refused.name


def counted(budget):
    budget.refresh_from_db()
    return budget.spent_now, budget.spent_tokens, budget.reserved_tokens


def test_a_turn_is_reserved_and_counted_in_each_budget_or_in_none(run):
    money = Budget.objects.create(name="money", amount=1)
    tokens = Budget.objects.create(name="tokens", tokens=100)
    one, two = run("one"), run("two")
    assert apply(one, 0, 0, money, tokens, reserve=100) is None
    assert apply(two, 0, 0, money, tokens, reserve=100) == "tokens"
    assert counted(money) == (0, 0, 100), "of the first run alone"
    for _ in range(2):  # a lost COMMIT: the same once more
        assert apply(one, "0.5", 60, money, tokens, reserve=30) is None
        assert counted(money) == (Decimal("0.5"), 60, 30)
    for _ in range(2):
        apply(one, "0.7", 120, is_last=True)
        assert (counted(money), counted(tokens)) == ((Decimal("0.7"), 120, 0), (Decimal("0.7"), 120, 0))
    assert apply(two, 0, 0, tokens, reserve=1) == "tokens"
    apply(two, 0, 0, is_last=True)
    assert not Reservation.objects.exists()


def test_what_a_deleted_run_has_reserved_is_given_back(run):
    budget = Budget.objects.create(name="b", tokens=100)
    gone = run("gone")
    assert apply(gone, 0, 0, budget, reserve=100) is None
    Run.objects.filter(pk=gone).delete()
    assert charges.lost(budget.pk) == (100_000_000, 100)
    assert apply(run("next"), 0, 0, budget, reserve=50) is None
    assert counted(budget) == (0, 0, 50)


def test_a_new_period_begins_at_zero_and_a_change_of_the_limit_keeps_what_was_counted(run):
    budget = Budget.objects.create(name="b", tokens=100, period="day")
    one = run("one")
    apply(one, 0, 0, budget, reserve=10)
    apply(one, 1, 100, is_last=True)
    stale = Budget.objects.get()
    Budget.objects.update(period_start="2020-01-01")
    stale.tokens = 50
    stale.save()
    budget.refresh_from_db()
    assert (budget.tokens, budget.left_tokens, budget.is_reached, budget.spent_tokens) == (50, 50, False, 100)
    assert apply(run("two"), 0, 0, budget, reserve=10) is None
    assert counted(budget) == (0, 0, 10)

"""Count what runs cost in the budgets that they keep to, in the transaction that writes what they did.

A run's cost is told as a total, and a reservation has how much of it was counted: to count the same total again, after
a lost COMMIT or by the worker that takes a run over, changes nothing. A new reserve replaces that of a dead worker.
Budgets are locked last, after sessions and runs, and in the order of their ids, so that there is no deadlock.
"""

import datetime
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import connection

from agents_app.database.prepared import parameter_value
from agents_app.models import Budget
from agents_app.models.budgets import NANO, Rule

UNFINISHED = "('queued', 'running', 'waiting')"


@dataclass(slots=True)
class Share:
    """A budget that a run keeps to. `reserve`: what its next turn may cost, in billionths of a dollar.

    `is_allowed`: a person has allowed the run to exceed the budget.
    """

    rule: Rule
    reserve: int
    is_allowed: bool = False


@dataclass(slots=True)
class Charge:
    """What a run has cost so far: `cost` in dollars, None if the price is unknown, and `tokens`.

    `shares`: where to reserve a turn that begins; none if a turn ended. `is_last`: the run has ended.
    After the transaction, `refused` is the budget that has no room for the turn, and `reached` are those that it
    exceeds all the same.
    """

    run_id: uuid.UUID
    cost: Decimal | None
    tokens: int
    shares: list[Share] = field(default_factory=list)
    reserve_tokens: int = 0
    is_last: bool = False
    refused: Rule | None = None
    reached: list[Rule] = field(default_factory=list)


def apply(charges: Iterable[Charge]) -> None:
    """Count what the turns that ended have cost, and reserve for those that begin."""
    work: list[tuple[int, Charge, Share | None]] = []
    for charge in charges:
        charge.refused, charge.reached = None, []  # a second attempt at the transaction begins anew
        if charge.shares:
            work += [(share.rule.id, charge, share) for share in charge.shares]
        else:
            work += [(budget, charge, None) for budget in _budgets_of(charge.run_id)]
    for budget, charge, share in sorted(work, key=lambda each: each[0]):
        if share is None:
            _settle(budget, charge)
        elif charge.refused is None:
            _reserve(charge, share)
        else:
            _settle(budget, charge)
    for budget, charge, _ in work:
        if charge.refused is not None:
            _settle(budget, charge)  # the reserve of a turn that another budget refused; the row is locked already


_OF_RUN = "SELECT budget_id FROM agents_app_reservation WHERE run_id = %s ORDER BY budget_id"
_COUNTED = """
SELECT counted, counted_tokens, reserved, reserved_tokens FROM agents_app_reservation
WHERE budget_id = %(budget)s AND run_id = %(run)s
"""
# A new period begins with the first turn in it. Its start never moves back: the clocks of two servers differ.
_PERIOD = """
    spent = CASE WHEN period_start >= %(start)s THEN spent ELSE 0 END + %(money)s,
    spent_tokens = CASE WHEN period_start >= %(start)s THEN spent_tokens ELSE 0 END + %(tokens)s,
    period_start = CASE WHEN period_start >= %(start)s THEN period_start ELSE %(start)s END"""
_COUNT = f"""
UPDATE agents_app_budget SET {_PERIOD},
    reserved = reserved - %(reserved)s, reserved_tokens = reserved_tokens - %(reserved_tokens)s
WHERE id = %(budget)s
"""
_HAS_ROOM = f"""
    (amount IS NULL OR (CASE WHEN period_start >= %(start)s THEN spent ELSE 0 END) + reserved < amount * {NANO})
    AND (tokens IS NULL OR
        (CASE WHEN period_start >= %(start)s THEN spent_tokens ELSE 0 END) + reserved_tokens < tokens)"""
_TAKE = f"""
UPDATE agents_app_budget SET {_PERIOD},
    reserved = reserved + %(reserve)s, reserved_tokens = reserved_tokens + %(reserve_tokens)s
WHERE id = %(budget)s AND {{condition}}
"""
_TAKE_IF_ROOM = _TAKE.format(condition=_HAS_ROOM)
_TAKE_ANYHOW = _TAKE.format(condition="TRUE")
_EXISTS = "SELECT 1 FROM agents_app_budget WHERE id = %(budget)s"
_GIVE_BACK = """
UPDATE agents_app_budget SET reserved = reserved - %(reserve)s, reserved_tokens = reserved_tokens - %(reserve_tokens)s
WHERE id = %(budget)s
"""
_KEEP = """
INSERT INTO agents_app_reservation (budget_id, run_id, counted, counted_tokens, reserved, reserved_tokens)
VALUES (%(budget)s, %(run)s, %(money)s, %(tokens)s, %(reserve)s, %(reserve_tokens)s)
ON CONFLICT (budget_id, run_id) DO UPDATE SET counted = excluded.counted, counted_tokens = excluded.counted_tokens,
    reserved = excluded.reserved, reserved_tokens = excluded.reserved_tokens
"""
_FORGET = "DELETE FROM agents_app_reservation WHERE budget_id = %(budget)s AND run_id = %(run)s"
# Of runs that were deleted in the middle of a turn: nobody else gives those reserves back.
_OF_LOST = f"""
FROM agents_app_reservation WHERE budget_id = %(budget)s AND NOT EXISTS (
    SELECT 1 FROM agents_app_run AS run
    WHERE run.id = agents_app_reservation.run_id AND run.status IN {UNFINISHED})
"""
_LOST = f"SELECT COALESCE(SUM(reserved), 0), COALESCE(SUM(reserved_tokens), 0) {_OF_LOST}"
_FORGET_LOST = f"DELETE {_OF_LOST} RETURNING reserved, reserved_tokens"


def _budgets_of(run_id: uuid.UUID) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_OF_RUN, [parameter_value(run_id)])
        return [budget for (budget,) in cursor.fetchall()]


def _settle(budget: int, charge: Charge) -> None:
    """Count the run's cost in a budget, and give its reserve back."""
    row = Budget.objects.filter(pk=budget).first()  # which may be disabled by now, or deleted
    rule = row.rule() if row else None
    total = rule.nano(charge.cost, charge.tokens) if rule else 0
    keys = {"budget": budget, "run": parameter_value(charge.run_id)}
    with connection.cursor() as cursor:
        is_counted = _count(cursor, keys, rule, total, charge.tokens)
        if charge.is_last:
            cursor.execute(_FORGET, keys)
        elif is_counted:
            cursor.execute(_KEEP, {**keys, "money": total, "tokens": charge.tokens, "reserve": 0, "reserve_tokens": 0})


def _reserve(charge: Charge, share: Share) -> None:
    """Reserve the next turn if the budget has room. A turn that only begins below the limit may end above it."""
    total = share.rule.nano(charge.cost, charge.tokens)
    keys = {"budget": share.rule.id, "run": parameter_value(charge.run_id)}
    take = {**keys, "start": _date(share.rule.start()), "money": 0, "tokens": 0}
    take |= {"reserve": share.reserve, "reserve_tokens": charge.reserve_tokens}
    with connection.cursor() as cursor:
        _count(cursor, keys, share.rule, total, charge.tokens)
        if not _take(cursor, take):
            may_exceed = share.is_allowed or share.rule.action == Budget.Action.WARN
            cursor.execute(_TAKE_ANYHOW if may_exceed else _EXISTS, take)
            if (may_exceed and not cursor.rowcount) or (not may_exceed and not cursor.fetchone()):
                return  # the budget was deleted a moment ago
            charge.reached.append(share.rule)
            if not may_exceed:
                charge.refused = share.rule
        reserve = {"reserve": 0, "reserve_tokens": 0} if charge.refused else {}
        cursor.execute(_KEEP, take | {"money": total, "tokens": charge.tokens} | reserve)


def _take(cursor: Any, take: dict[str, Any]) -> bool:
    """Reserve if the budget has room, perhaps after lost reserves were given back."""
    cursor.execute(_TAKE_IF_ROOM, take)
    if cursor.rowcount:
        return True
    if not _give_back_lost(cursor, take):
        return False
    cursor.execute(_TAKE_IF_ROOM, take)
    return bool(cursor.rowcount)


def _count(cursor: Any, keys: dict[str, Any], rule: Rule | None, total: int, tokens: int) -> bool:
    """Add what was not counted yet, and give the old reserve back. Return whether the run has a row in the budget.

    Without one, it begins to count here: what it has cost before the budget was made does not count.
    """
    cursor.execute(_COUNTED, keys)
    row = cursor.fetchone()
    if row is None:
        return False
    money_before, tokens_before, reserved, reserved_tokens = row
    changes = {
        "money": total - money_before,
        "tokens": tokens - tokens_before,
        "reserved": reserved,
        "reserved_tokens": reserved_tokens,
    }
    if rule is not None and any(changes.values()):
        cursor.execute(_COUNT, {**keys, **changes, "start": _date(rule.start())})
    return True


def _give_back_lost(cursor: Any, keys: dict[str, Any]) -> bool:
    """Give back what runs that are no more have reserved. Return whether there were any."""
    cursor.execute(_FORGET_LOST, keys)
    if not (lost := cursor.fetchall()):
        return False
    money, tokens = sum(row[0] for row in lost), sum(row[1] for row in lost)
    cursor.execute(_GIVE_BACK, {**keys, "reserve": money, "reserve_tokens": tokens})
    return True


def lost(budget: int) -> tuple[int, int]:
    """Return the money and the tokens that runs have reserved that are no more. The next turn gives them back."""
    with connection.cursor() as cursor:
        cursor.execute(_LOST, {"budget": budget})
        money, tokens = cursor.fetchone()
        return int(money), int(tokens)


def _date(day: datetime.date) -> Any:
    return connection.ops.adapt_datefield_value(day)

"""Keep a run to its budgets: reserve each turn of the model before it begins, and count it when it has ended."""

import datetime
from collections.abc import Callable
from decimal import Decimal

from django.utils import timezone

from agents_app.database.threads import DatabaseThreads
from agents_app.engine.events import TOOL_RESULT, AwaitingApproval, StepDone
from agents_app.engine.spending import TurnEstimate
from agents_app.event_log import RunLog, vocabulary
from agents_app.event_log.charges import Charge, Share
from agents_app.exceptions import LimitReached
from agents_app.models import Approval, Budget
from agents_app.models.budgets import Rule, cached_rules, rules
from agents_app.observability import metrics
from agents_app.runs import approvals
from agents_app.runs.budgets import OPTIONS, QUESTION, question_id, reached
from agents_app.runs.frames import waiting_data
from agents_app.worker.claims import Claim


class RunSpending:
    """The budgets of one claimed run. See `engine.spending.Spending`."""

    def __init__(self, claim: Claim, log: RunLog, database: DatabaseThreads) -> None:
        self._claim = claim
        self._run = claim.run
        self._conversation = claim.conversation
        self._log = log
        self._database = database
        self._reported: set[int] = set()
        self._has_rows = claim.run.attempt > 1  # an earlier worker may have reserved

    def cost(self) -> Decimal | None:
        """Return what the run has cost so far; None if the price is unknown."""
        tariffs = self._claim.tariffs
        return tariffs.cost(self._conversation.usage) if tariffs else Decimal(0)

    def charge(self, *, is_last: bool = False) -> Charge | None:
        """Return what counts the turns so far, and gives the reserve back; None if no budget counts the run."""
        return self._charge(is_last=is_last) if self._has_rows else None

    async def begin_turn(self, estimate: Callable[[], TurnEstimate]) -> AwaitingApproval | None:
        """Reserve the next turn in each budget of the run.

        Returns an event if a person must allow it first.

        Raises:
            LimitReached: a budget has no room for it.
        """
        all_rules = cached_rules()
        if all_rules is None:
            all_rules = await self._database.run(rules)
        payer = self._claim.payer
        budgets = [rule for rule in all_rules if payer.matches(rule)] if all_rules and payer else []
        if not budgets:
            return None
        self._has_rows = True
        charge = self._charge()
        turn = estimate()
        price = self._price(turn)
        charge.reserve_tokens = turn.input_tokens + turn.output_tokens
        charge.shares = [
            Share(
                rule, rule.nano(price, charge.reserve_tokens), self._claim.budget_answers.get(question_id(rule), False)
            )
            for rule in budgets
        ]
        await self._log.commit(charge=charge)
        return await self._outcome(charge)

    def _charge(self, *, is_last: bool = False) -> Charge:
        usage = self._conversation.usage
        return Charge(self._run.pk, self.cost(), usage.input_tokens + usage.output_tokens, is_last=is_last)

    def _price(self, turn: TurnEstimate) -> Decimal | None:
        usage = {"requests": 1, "input_tokens": turn.input_tokens, "output_tokens": turn.output_tokens}
        return self._claim.tariffs.most(usage) if self._claim.tariffs else Decimal(0)

    async def _outcome(self, charge: Charge) -> AwaitingApproval | None:
        for rule in charge.reached:
            if rule.id not in self._reported:
                self._reported.add(rule.id)
                metrics.BUDGETS_REACHED.labels(rule.action).inc()
                if rule is not charge.refused and rule.action == Budget.Action.WARN:
                    self._log.add(vocabulary.Warning(message=str(reached(rule)), code=reached(rule).code))
        refused = charge.refused
        if refused is None:
            return None
        if refused.action == Budget.Action.ASK and question_id(refused) not in self._claim.budget_answers:
            return await self._ask(refused)
        raise LimitReached(str(reached(refused)), code="budget_reached")

    async def _ask(self, rule: Rule) -> AwaitingApproval:
        """Ask a person whether the run may go on, as if by a question of the agent."""
        conversation = self._conversation
        question = f"The budget {rule.name!r} is used up. May this run go on?"
        row = StepDone(
            index=conversation.next_index,
            type=TOOL_RESULT,
            iteration=conversation.iteration,
            content="",
            started=0.0,
            finished=0.0,
            tool_call_id=question_id(rule),
            tool_name=QUESTION,
            arguments={"question": question, "options": OPTIONS},
            action=Approval.Kind.QUESTION.value,
        )
        conversation.next_index += 1  # of the question, though no step has it
        assert self._claim.spec is not None
        expires_at = timezone.now() + datetime.timedelta(seconds=self._claim.spec.limits.approval_timeout)
        self._log.add(waiting_data(self._run, row, expires_at))
        await self._log.commit(then=lambda: approvals.request(self._run, [row], expires_at))
        return AwaitingApproval([row])

"""Record what one run does: its steps and its events, each before what follows from it."""

import datetime
import functools
import logging
from collections.abc import Callable

from django.utils import timezone

from agents_app.access import rights
from agents_app.database.threads import DatabaseThreads
from agents_app.engine.events import OF_MODELS, Compacted, RunWarning, StepDone, ToolsStarting
from agents_app.engine.loop import Turns
from agents_app.engine.spec import ModelSpec
from agents_app.engine.toolset import CLIENT_TOOL
from agents_app.event_log import RunLog, vocabulary
from agents_app.models import Step
from agents_app.models.approvals import action_id
from agents_app.runs import approvals
from agents_app.runs.frames import step_data, waiting_data
from agents_app.worker import attachments, compactions
from agents_app.worker.claims import Claim
from agents_app.worker.spending import RunSpending

logger = logging.getLogger(__name__)

# What a warning says to an owner who is no administrator, and need not know how the agent is made.
_FOR_USERS = {
    "tools_unavailable": "Some tools of this agent are not available. An administrator finds the reason in the log.",
    "tools_changed": "Some tools of this agent are not what they were when an administrator checked them.",
}


class RunRecorder:
    """Writes one run's steps and events. `turns`: its engine, once it works."""

    def __init__(self, claim: Claim, log: RunLog, database: DatabaseThreads, spending: RunSpending) -> None:
        self.run = claim.run
        self.log = log
        self.turns: Turns | None = None
        self._claim = claim
        self._spec = claim.spec
        self._conversation = claim.conversation
        self._database = database
        self._spending = spending

    @property
    def model(self) -> ModelSpec | None:
        """Return the model that is asked now, or answered last; None if the run has no agent."""
        if self.turns is not None:
            return self.turns.model
        return self._spec.model if self._spec else None

    def step_done(self, step: StepDone) -> None:
        self._write_step(step, Step.Status.FINISHED)
        if self.run.enable_reasoning:
            model = self.model if self._is_fallback(step) else None
            self.log.add(step_data(step, attachments.describe(step), model), replaces=(step.index,))

    def _is_fallback(self, step: StepDone) -> bool:
        return step.type in OF_MODELS and self._spec is not None and self.model != self._spec.model

    def _write_step(self, step: StepDone, status: str) -> None:
        model = self.model if step.type in OF_MODELS else None
        self.log.step(
            Step(
                run_id=self.run.pk,
                index=step.index,
                iteration=step.iteration,
                kind=step.type,
                status=status,
                content=step.content,
                tool_call_id=step.tool_call_id,
                tool_name=step.tool_name,
                arguments=step.arguments,
                is_error=step.is_error,
                attachments=attachments.describe(step),
                provider_data=step.provider_data,
                provider=model.provider if model else "",
                model=model.model if model else "",
                usage=self._conversation.usage.as_dict(),
                started_at=_moment(step.started),
                finished_at=_moment(step.finished) if status == Step.Status.FINISHED else None,
            )
        )

    def retry(self, steps: list[int], attempt: int, reason: str, delay: float) -> None:
        if self.run.enable_reasoning:
            for step in steps:
                data = vocabulary.Retry(step=step, attempt=attempt, reason=reason, delay_ms=round(delay * 1000))
                self.log.add(data, replaces=(step,))

    async def begin_tools(self, event: ToolsStarting) -> None:
        """Record which tools are called, and which wait for approval, before any of it happens."""
        of_client = {row.tool_call_id: row.index for row in event.waiting if row.action == CLIENT_TOOL}
        for use in event.uses:
            if (index := of_client.get(use.tool_call_id)) is not None:
                use.details = {"action_id": action_id(self.run.pk, index)}
            self.step_done(use)
        for row in event.results:
            self._write_step(row, Step.Status.STARTED)
        for row in event.waiting:
            self._write_step(row, Step.Status.PENDING)
        if not event.waiting:
            await self.log.commit(charge=self._spending.charge())
            return
        assert self._spec is not None
        expires_at = timezone.now() + datetime.timedelta(seconds=self._spec.limits.approval_timeout)
        for row in event.waiting:
            self.log.add(waiting_data(self.run, row, expires_at))
        request = functools.partial(approvals.request, self.run, event.waiting, expires_at)
        await self.log.commit(then=request, charge=self._spending.charge())

    def keep_attachments(self, step: StepDone) -> Callable[[], None] | None:
        """Return what saves the step's attachments in the transaction that writes the step."""
        if not step.attachments:
            return None
        rows = attachments.rows(self.run, step)
        return lambda: attachments.save(rows)

    async def warn(self, event: RunWarning) -> None:
        """Record a warning. It names MCP servers, with their commands and addresses."""
        message = event.message
        owner_id = self.run.session.owner_id
        if event.code in _FOR_USERS and not await self._database.run(rights.is_administrator, owner_id):
            logger.warning("Run %s: %s", self.run.pk, message)
            message = _FOR_USERS[event.code]
        self.log.add(vocabulary.Warning(message=message, code=event.code))

    async def compacted(self, event: Compacted) -> None:
        """Record a compaction before the model gets what it left: whoever continues the run does not make it again."""
        upto, seq = event.compaction.upto, event.seq
        if seq is None:
            await self.log.commit()
            seq = await self._database.run(compactions.upto_seq, self.run, upto)
        self.log.step(compactions.row(self.run, event, self._conversation.usage))
        self.log.add(compactions.frame(event.compaction, seq))
        await self.log.commit()

    def discard_dangling(self) -> None:
        if self._claim.dangling and self.run.enable_reasoning:
            self.retry(self._claim.dangling, self.run.attempt - 1, "The worker stopped; another one continues.", 0)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)

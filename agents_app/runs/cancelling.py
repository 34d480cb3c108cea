"""Stop runs, and end those that no worker executes."""

from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from agents_app import event_log
from agents_app.database.errors import storage_errors
from agents_app.database.threads import write_transaction
from agents_app.engine.spec import Usage
from agents_app.event_log import EventData
from agents_app.models import Approval, Provider, Run, Session, TokenUse
from agents_app.models.steps import usage_of
from agents_app.observability import metrics
from agents_app.queue import run_queue
from agents_app.runs import pricing
from agents_app.runs.frames import cancel_events, start_data
from agents_app.runs.queueing import enqueue_next


def cancel(run: Run, *, by: str) -> None:
    """Really stop a run: a queued one ends here and now, a running one is ended by its worker.

    Raises:
        StorageUnavailable: the database refused; the run goes on.
    """
    with storage_errors(), write_transaction():
        Session.objects.select_for_update().filter(pk=run.session_id).first()  # sessions before runs: see log.sql
        asked = {"cancel_requested": True, "cancelled_by": by, "cancel_requested_at": timezone.now()}
        waiting = Run.objects.filter(pk=run.pk, status__in=[Run.Status.QUEUED, Run.Status.WAITING])
        if waiting.update(**asked):
            end_cancelled(Run.objects.get(pk=run.pk))
            enqueue_next(run.session_id)
        elif Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING).update(**asked):
            run_queue.cancel(run.pk)
        else:
            return
        # Not in here: whoever locks two sessions out of order may meet somebody who does it the other way.
        transaction.on_commit(lambda: cancel_children(run, by=by))


def cancel_children(run: Run, *, by: str) -> None:
    """Stop what the run's agent has asked other agents for: nobody waits for it any more."""
    for child in run.children.unfinished():
        cancel(child, by=by)


def end_cancelled(run: Run) -> None:
    """End a cancelled run that no worker executes, in the caller's transaction."""
    events: list[EventData] = []
    if run.first_seq is None:
        events.append(start_data(run))
    usage, iterations = _used(run)
    events += cancel_events(run, usage, iterations)
    numbers = event_log.record(run.session_id, run.pk, events)
    Run.objects.filter(pk=run.pk).update(
        status=Run.Status.CANCELLED,
        **Run.used(usage.as_dict()),
        **_price(run, usage),
        finished_at=timezone.now(),
        first_seq=run.first_seq or numbers[0],
        last_seq=numbers[-1],
    )
    TokenUse.objects.add([run.pk])
    close_approvals(run)
    transaction.on_commit(metrics.RUNS_FINISHED.labels(Run.Status.CANCELLED.value).inc)


def _used(run: Run) -> tuple[Usage, int]:
    """What it had used up, and the turns that it had taken, before it waited for a person or for a worker."""
    steps = list(run.steps.only("run", "usage", "iteration")) if run.attempt else []
    return (usage_of(steps), max(step.iteration for step in steps)) if steps else (Usage(), 0)


def _price(run: Run, usage: Usage) -> dict[str, Any]:
    """What that cost, and with which model, as columns of the run."""
    if not usage.requests or run.agent is None:
        return {"cost": None if usage.requests else Decimal(0)}
    provider = run.agent.provider or Provider.objects.default()
    model = run.agent.model or (provider.default_model if provider else "")
    return {"model": model, "cost": pricing.tariff(provider, model).cost(usage.as_dict())}


def close_approvals(run: Run) -> None:
    """The run has ended: nothing of it waits for a person any more; in the caller's transaction."""
    pending = Approval.objects.filter(run=run, status=Approval.Status.PENDING)
    pending.update(status=Approval.Status.CANCELLED, answered_at=timezone.now())

"""Stop runs, and end those that no worker executes."""

from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from agents_app import event_log
from agents_app.database.errors import storage_errors
from agents_app.engine.spec import ModelChoice, Usage
from agents_app.event_log import EventData, charges
from agents_app.models import Approval, Provider, Run, Session, TokenUse
from agents_app.models.agent_versions import current_id, definition, model_spec
from agents_app.models.steps import usage_of
from agents_app.observability import metrics
from agents_app.queue import run_queue
from agents_app.runs import pricing
from agents_app.runs.frames import cancel_events, start_data


def cancel(run: Run, *, by: str) -> None:
    """Stop a run: a queued run ends at once, a running one is ended by its worker.

    Raises:
        StorageUnavailable: the database refused; the run continues.
    """
    with storage_errors(), transaction.atomic():
        Session.objects.select_for_update().filter(pk=run.session_id).first()  # sessions before runs: see event_log.sql
        request = {"cancel_requested": True, "cancelled_by": by, "cancel_requested_at": timezone.now()}
        waiting = Run.objects.filter(pk=run.pk, status__in=[Run.Status.QUEUED, Run.Status.WAITING])
        if waiting.update(**request):
            _end_cancelled(Run.objects.get(pk=run.pk))
        elif Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING).update(**request):
            run_queue.cancel(run.pk)
        else:
            return
        # After the commit: locking two sessions out of order could deadlock with a transaction in the other order.
        transaction.on_commit(lambda: cancel_children(run, by=by))


def cancel_children(run: Run, *, by: str) -> None:
    """Stop the runs that the run's agent asked other agents for: nobody waits for them any more."""
    for child in run.children.unfinished():
        cancel(child, by=by)


def _end_cancelled(run: Run) -> None:
    """End a cancelled run that no worker executes, in the caller's transaction."""
    events: list[EventData] = []
    if run.first_seq is None:
        events.append(start_data(run))
    usage, iterations = _used(run)
    events += cancel_events(run, usage, iterations)
    numbers = event_log.record(run.session_id, run.pk, events)
    price = _price(run, usage)
    Run.objects.filter(pk=run.pk).update(
        status=Run.Status.CANCELLED,
        **Run.used(usage.as_dict()),
        **price,
        finished_at=timezone.now(),
        first_seq=run.first_seq or numbers[0],
        last_seq=numbers[-1],
    )
    close_approvals(run)
    run_queue.enqueue_next(run.session_id)
    # Last, after the lock that the queue takes: the log's writer has these rows in the same order.
    TokenUse.objects.add([run.pk])
    if run.attempt:
        tokens = usage.input_tokens + usage.output_tokens
        charges.apply([charges.Charge(run.pk, price["cost"], tokens, is_last=True)])
    transaction.on_commit(metrics.RUNS_FINISHED.labels(Run.Status.CANCELLED.value).inc)


def _used(run: Run) -> tuple[Usage, int]:
    """Return the usage and the model turns of the run before it waited for a person or for a worker."""
    steps = list(run.steps.only("run", "index", "usage", "iteration", "provider", "model")) if run.attempt else []
    return (usage_of(steps), max(step.iteration for step in steps)) if steps else (Usage(), 0)


def _price(run: Run, usage: Usage) -> dict[str, Any]:
    """Return the cost and the model that answered last as columns of the run."""
    if not usage.requests or run.agent is None:
        return {"cost": None if usage.requests else Decimal(0)}
    version = definition(run.agent_version_id or current_id(run.agent))
    chosen = version.provider
    own = Provider.objects.filter(pk=chosen.id).first() if chosen else Provider.objects.default()
    others = Provider.objects.in_bulk([each.provider.id for each in version.fallbacks if each.provider])
    models = [(own, version.model)]
    models += [(others.get(each.provider.id) if each.provider else own, each.model) for each in version.fallbacks]
    choices = [ModelChoice(model_spec(provider, model)) for provider, model in models]
    places = [place for place in usage.by_model if place[1]]
    provider_name, model_name = places[-1] if places else choices[0].model.place
    cost = pricing.tariffs([provider for provider, _ in models], choices).cost(usage)
    return {"provider": provider_name, "model": model_name, "cost": cost}


def close_approvals(run: Run) -> None:
    """Cancel the pending approvals of a run that has ended, in the caller's transaction."""
    pending = Approval.objects.filter(run=run, status=Approval.Status.PENDING)
    pending.update(status=Approval.Status.CANCELLED, answered_at=timezone.now())

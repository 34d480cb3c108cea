"""Claims: how a worker takes a run, keeps it, and gives it back. Each is a conditional UPDATE on the run's row."""

import datetime
import uuid
from dataclasses import dataclass, field

import orjson
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from agents_app import log, runs
from agents_app.engine.spec import AgentSpec, Conversation
from agents_app.log.store import Segment
from agents_app.models import Agent, Event, Provider, Run
from agents_app.threads import write_transaction

LEASE = datetime.timedelta(seconds=15)


@dataclass(slots=True)
class Claim:
    """A run that is ours while its fence stands, and all that is needed to go on with it.

    `dangling`: steps that the worker before us began to stream and never finished, with where their deltas are.
    """

    run: Run
    spec: AgentSpec | None
    conversation: Conversation
    dangling: list[int] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)


def claim(worker: str, limit: int) -> list[Claim]:
    """Take up to `limit` runs, oldest first. A run's first claim writes its `reasoning_start`."""
    now = timezone.now()
    with write_transaction():
        found = Run.objects.claimable(now).order_by("created_at", "number")[:limit]
        ids = [pk for pk, cancelled in found.values_list("pk", "cancel_requested")]
        if not ids:
            return []
        Run.objects.claimable(now).filter(pk__in=ids).update(
            status=Run.Status.RUNNING,
            fence=F("fence") + 1,
            attempt=F("attempt") + 1,
            worker=worker,
            lease_until=now + LEASE,
            started_at=Coalesce("started_at", now),
        )
        ours = Run.objects.filter(pk__in=ids, worker=worker, status=Run.Status.RUNNING)
        taken = list(ours.select_related("session", "agent__provider").order_by("created_at", "number"))
        for run in taken:
            if run.first_seq is None:
                run.first_seq = log.record(run.session_id, run.pk, [("reasoning_start", runs.start_data(run))])[0]
        Run.objects.bulk_update(taken, ["first_seq"])
    default = Provider.objects.default()
    return [_prepared(run, default) for run in taken]


def _prepared(run: Run, default: Provider | None) -> Claim:
    agent: Agent | None = run.agent
    spec = agent.spec(agent.provider or default) if agent else None
    prepared = Claim(run, spec, runs.conversation(run))
    if run.attempt > 1:
        prepared.dangling, prepared.segments = _left_behind(run, prepared.conversation.next_index)
    return prepared


def _left_behind(run: Run, next_index: int) -> tuple[list[int], list[Segment]]:
    """The steps whose deltas an earlier worker left, and the rows at the end of the log that hold them."""
    events = Event.objects.filter(session=run.session_id, seq__gte=run.first_seq)
    newest_other = events.exclude(type=log.rows.DELTA).order_by("-seq").values_list("seq", flat=True).first() or 0
    segments: list[Segment] = []
    dangling: set[int] = set()
    deltas = events.filter(run_id=run.pk, type=log.rows.DELTA).order_by("seq").values_list("first", "seq", "data")
    for first, seq, data in deltas.iterator():
        step = orjson.loads(data)["step"]
        if step < next_index:
            continue
        dangling.add(step)
        if seq > newest_other:
            segments.append(Segment(step, first, seq))
    return sorted(dangling), segments


def renew(worker: str, ids: list[uuid.UUID]) -> None:
    """Say that these runs' worker is alive."""
    ours = Run.objects.filter(pk__in=ids, worker=worker, status=Run.Status.RUNNING)
    ours.update(lease_until=timezone.now() + LEASE)


def release_orphans() -> int:
    """Let every running run be claimed at once: for the embedded engine, which nobody else shares a database with."""
    return Run.objects.filter(status=Run.Status.RUNNING).update(lease_until=timezone.now() - LEASE)


def cancel_requests(ids: list[uuid.UUID]) -> list[uuid.UUID]:
    """Which of these runs somebody wants stopped: a nudge may have been lost."""
    return list(Run.objects.filter(pk__in=ids, cancel_requested=True).values_list("pk", flat=True))



"""Claim runs, keep them, and give them back. Each is a conditional UPDATE on the run's row."""

import datetime
import functools
import logging
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from agents_app import event_log
from agents_app.access import rights
from agents_app.database.prepared import Parameter, Prepared, parameter_value
from agents_app.engine import providers
from agents_app.engine.spec import AgentSpec, Conversation
from agents_app.event_log.batch import Segment
from agents_app.event_log.vocabulary import EventType
from agents_app.exceptions import RunFailed
from agents_app.models import Agent, Event, Run
from agents_app.models.running_limits import RunningLimits, places, running_limits
from agents_app.models.runs import FIRST_IN_SESSION
from agents_app.queue import run_queue
from agents_app.runs import budgets, pricing
from agents_app.runs.budgets import Subject
from agents_app.runs.frames import start_data
from agents_app.runs.pricing import Tariffs
from agents_app.worker.conversation import conversation
from agents_app.worker.specs import Integrations, RunSpec, run_spec

logger = logging.getLogger(__name__)

LEASE = datetime.timedelta(seconds=10)


@dataclass(slots=True)
class Claim:
    """A run that this worker owns until its fence moves, with everything needed to continue it.

    `dangling`: steps that the previous worker began to stream and never finished; `segments`: where their deltas are.
    `is_broken`: data that the run needs cannot be read; it can only fail. `denial`: why its owner may not run it now.
    `payer`: whose budgets count the run. `budget_answers`: see `budgets.answers_of`.
    """

    run: Run
    spec: AgentSpec | None
    conversation: Conversation
    dangling: list[int] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    tariffs: Tariffs | None = None
    is_broken: bool = False
    denial: RunFailed | None = None
    payer: Subject | None = None
    budget_answers: dict[str, bool] = field(default_factory=dict)


_CLAIMABLE = "(run.status = 'queued' OR (run.status = 'running' AND run.lease_until < %(now)s))"
# One statement by hand, because every run needs it: the ORM took 5 ms to build it.
_CLAIM = f"""
UPDATE agents_app_run SET status = 'running', fence = fence + 1, attempt = attempt + 1, worker = %(worker)s,
    takeovers = takeovers + CASE WHEN status = 'running' AND worker <> '' THEN 1 ELSE 0 END,
    lease_until = %(until)s, started_at = COALESCE(started_at, %(now)s)
WHERE id IN (
    SELECT run.id FROM agents_app_run AS run {{turns}}
    WHERE {_CLAIMABLE} {{others}} AND {FIRST_IN_SESSION}
    ORDER BY {{first}} run.priority DESC, run.created_at, run.number LIMIT %(limit)s {{locked}})
RETURNING id
"""
# Owners take turns: first whoever has the fewest runs in progress, then by age. Sharing the places of one claim evenly
# (ROW_NUMBER per owner) cost six times as much with 1,000 runs in the queue; this way an owner without a run in
# progress is next as soon as a place is free, whatever the priorities of others.
_TURNS = """INNER JOIN agents_app_session AS session ON session.id = run.session_id
    LEFT JOIN (
        SELECT session.owner_id, COUNT(*) AS runs
        FROM agents_app_run AS run INNER JOIN agents_app_session AS session ON session.id = run.session_id
        WHERE run.status = 'running' AND run.lease_until >= %(now)s GROUP BY session.owner_id
    ) AS busy ON busy.owner_id = session.owner_id"""
# SQLite has one writer. On PostgreSQL, skip what another worker is claiming.
_LOCKED = {"sqlite": "", "postgresql": "FOR UPDATE OF run SKIP LOCKED"}
# The same text however many ids: a text for each number of them is rewritten, and compiled by SQLite, at each claim.
_NOT_BUSY = {
    "sqlite": "AND run.id NOT IN (SELECT value FROM json_each(%(busy)s))",
    "postgresql": "AND run.id <> ALL(%(busy)s)",
}
_ONLY = {
    "sqlite": "AND run.id IN (SELECT value FROM json_each(%(only)s))",
    "postgresql": "AND run.id = ANY(%(only)s)",
}

# Where users or agents have limits: what could be claimed, without the owners and agents that have no place left.
_CANDIDATES = f"""
SELECT run.id, session.owner_id, run.agent_id, run.parent_id FROM agents_app_run AS run {_TURNS}
WHERE {_CLAIMABLE} {{others}} AND {FIRST_IN_SESSION} AND (run.parent_id IS NOT NULL OR ({{not_full}}))
ORDER BY COALESCE(busy.runs, 0), run.priority DESC, run.created_at, run.number LIMIT %(limit)s
"""
_NOT_FULL = {
    "sqlite": """COALESCE(session.owner_id, 0) NOT IN (SELECT value FROM json_each(%(full_users)s))
        AND COALESCE(run.agent_id, 0) NOT IN (SELECT value FROM json_each(%(full_agents)s))""",
    "postgresql": """COALESCE(session.owner_id, 0) <> ALL(%(full_users)s)
        AND COALESCE(run.agent_id, 0) <> ALL(%(full_agents)s)""",
}
_LIMITS_LOCK = 0x41494E57  # of PostgreSQL's advisory locks: two workers would both take an owner's last place

_LOCK_SESSIONS = """
SELECT EXISTS (SELECT 1 FROM agents_app_run WHERE status IN ('queued', 'running', 'waiting') AND priority <> 0)
FROM agents_app_session WHERE id IN (SELECT session_id FROM agents_app_run WHERE id = ANY(%s))
ORDER BY id FOR UPDATE
"""
_SET_FIRST = "UPDATE agents_app_run SET first_seq = %s WHERE id = %s"
# Of the agent, only the columns without which the rights could not be read: the rest is in the run's version.
_READ = ("id", "name", "owner")
_NOT_READ = [f"agent__{field.name}" for field in Agent._meta.concrete_fields if field.name not in _READ]
_CLAIMED = Prepared(lambda: rights.with_rights(Run.objects.filter(pk=Parameter("pk"))).defer(*_NOT_READ))


def claim(
    worker: str, limit: int, busy: Collection[uuid.UUID] = (), only: Collection[uuid.UUID] | None = None
) -> list[Claim]:
    """Claim up to `limit` runs in turn of their owners, or `only` those.

    A run's first claim writes its `reasoning_start`.

    `busy`: the runs that this worker executes: it must not take over its own run, however late the lease.
    """
    now = timezone.now()
    parameters = {"worker": worker, "now": parameter_value(now), "until": parameter_value(now + LEASE), "limit": limit}
    parameters["busy"] = _ids(busy)
    if only is not None:
        parameters["only"] = _ids(only)
    with transaction.atomic():
        with connection.cursor() as cursor:
            if only is not None and connection.vendor == "postgresql":
                cursor.execute(_LOCK_SESSIONS, [list(only)])  # sessions before runs: see event_log.sql
                if any(has_priorities for (has_priorities,) in cursor.fetchall()):
                    only = run_queue.prefer(list(only))
                    parameters["only"] = _ids(only)
            if limits := running_limits():
                parameters["only"] = _ids(_with_places(cursor, limits, parameters, is_choice=only is not None))
            is_choice = only is not None or bool(limits)
            cursor.execute(_statement(connection.vendor, is_choice=is_choice), parameters)
            ids = [uuid.UUID(str(pk)) for (pk,) in cursor.fetchall()]
        if not ids:
            return []
        rows = [row for pk in ids for row in _CLAIMED.all(pk=pk)]
        ours = sorted(rows, key=lambda run: (run.created_at, run.number))
        for run in ours:
            if run.first_seq is None:
                _begin(run)
    integrations = Integrations()
    return [_prepare(run, integrations) for run in ours]


def _with_places(cursor: Any, limits: RunningLimits, parameters: dict[str, Any], *, is_choice: bool) -> list[uuid.UUID]:
    """Choose runs whose owners and agents have a place for them."""
    vendor = connection.vendor
    if vendor == "postgresql":
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LIMITS_LOCK])
    taken = places(limits, parameters["now"])
    others = f"{_NOT_BUSY[vendor]} {_ONLY[vendor] if is_choice else ''}"
    statement = _CANDIDATES.format(others=others, not_full=_NOT_FULL[vendor])
    chosen: dict[uuid.UUID, None] = {}
    while True:
        full = {"full_users": _numbers(taken.full_users), "full_agents": _numbers(taken.full_agents)}
        cursor.execute(statement, parameters | full)
        rows = [(uuid.UUID(str(pk)), *more) for pk, *more in cursor.fetchall()]
        before = len(taken.full_users), len(taken.full_agents)
        for pk, owner_id, agent_id, parent_id in rows:
            if len(chosen) == parameters["limit"]:
                break
            if pk not in chosen and (parent_id is not None or taken.offer(owner_id, agent_id)):
                chosen[pk] = None
        if before == (len(taken.full_users), len(taken.full_agents)) or len(chosen) == parameters["limit"]:
            return list(chosen)  # else those who have no more places may have hidden others


def _numbers(ids: set[int]) -> Any:
    return list(ids) if connection.vendor == "postgresql" else orjson.dumps(list(ids)).decode()


@functools.cache
def _statement(vendor: str, *, is_choice: bool) -> str:
    turns, first = ("", "") if is_choice else (_TURNS, "COALESCE(busy.runs, 0),")
    others = f"{_NOT_BUSY[vendor]} {_ONLY[vendor] if is_choice else ''}"
    return _CLAIM.format(turns=turns, first=first, others=others, locked=_LOCKED[vendor])


def _ids(ids: Collection[uuid.UUID]) -> Any:
    return list(ids) if connection.vendor == "postgresql" else orjson.dumps([pk.hex for pk in ids]).decode()


def _begin(run: Run) -> None:
    run.first_seq = event_log.record(run.session_id, run.pk, [start_data(run)])[0]
    with connection.cursor() as cursor:
        cursor.execute(_SET_FIRST, [run.first_seq, parameter_value(run.pk)])


def _prepare(run: Run, integrations: Integrations) -> Claim:
    try:
        return _read(run, integrations)
    except DatabaseError:
        raise
    except Exception:  # one unreadable run must not keep the others from being claimed, again and again
        logger.exception("Could not prepare run %s", run.pk)
        return Claim(run, None, Conversation(history=[], prompt=run.prompt), is_broken=True)


def _read(run: Run, integrations: Integrations) -> Claim:
    read: RunSpec | None = None
    denial = rights.denial(run)
    try:
        read = run_spec(run, integrations)
    except RunFailed as error:
        denial = denial or error
    rebuilt = conversation(run, read.spec.largest_window) if read else conversation(run)
    if read:
        providers.encode_history(read.spec.model, rebuilt.history)
    tariffs = pricing.tariffs(read.providers, read.spec.choices) if read else None
    prepared = Claim(run, read and read.spec, rebuilt, tariffs=tariffs, denial=denial)
    prepared.payer = budgets.payer_of(run)
    if run.attempt > 1:
        prepared.budget_answers = budgets.answers_of(run)
        prepared.dangling, prepared.segments = _left_behind(run, prepared.conversation.next_index)
    return prepared


def _left_behind(run: Run, next_index: int) -> tuple[list[int], list[Segment]]:
    """Return the steps whose deltas an earlier worker left, and the rows at the end of the log that hold them."""
    events = Event.objects.filter(session=run.session_id, seq__gte=run.first_seq)
    others = events.exclude(type=EventType.REASONING_DELTA)
    newest_other = others.order_by("-seq").values_list("seq", flat=True).first() or 0
    segments: list[Segment] = []
    dangling: set[int] = set()
    deltas = events.filter(run_id=run.pk, type=EventType.REASONING_DELTA).order_by("seq")
    for first, seq, data in deltas.values_list("first", "seq", "data").iterator():
        step = orjson.loads(data)["step"]
        if step < next_index:
            continue
        dangling.add(step)
        if seq > newest_other:
            segments.append(Segment(step, first, seq))
    return sorted(dangling), segments


def renew(worker: str, ids: list[uuid.UUID]) -> None:
    """Extend the leases of these runs."""
    ours = Run.objects.filter(pk__in=ids, worker=worker, status=Run.Status.RUNNING)
    with transaction.atomic():
        # In the order in which the writer locks them: see event_log.sql.
        locked = list(ours.order_by("session_id").select_for_update(no_key=True).values_list("pk", flat=True))
        Run.objects.filter(pk__in=locked).update(lease_until=timezone.now() + LEASE)


def release_orphans() -> int:
    """Expire all leases. For the embedded worker, which shares its database with no other.

    Their worker ended with its process, which says nothing about the runs: these are no takeovers.
    """
    return Run.objects.filter(status=Run.Status.RUNNING).update(lease_until=timezone.now() - LEASE, worker="")


def cancel_requests(ids: list[uuid.UUID]) -> list[uuid.UUID]:
    """Return which of these runs should be stopped: the queue's signal may have been lost."""
    return list(Run.objects.filter(pk__in=ids, cancel_requested=True).values_list("pk", flat=True))

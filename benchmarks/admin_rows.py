"""Rows as a busy installation has them, and the pages of the admin that show them."""

import datetime
import random
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents_app.event_log import sql as log_sql
from agents_app.event_log.transaction import _CREATED_AT as CREATED_AT
from agents_app.models import (
    Agent,
    Approval,
    Delivery,
    McpServer,
    Provider,
    Run,
    ScheduledTask,
    Session,
    Skip,
    Step,
)

_BATCH = 500  # of a transaction: PostgreSQL ends one that idles for seconds
_DATA = '{"step":1,"type":"thought","content":"' + "word " * 20 + '","iteration":1,"timestamp":1.0}'
PASSWORD = "correct horse battery"  # of the administrator `boss`
_TASKS, _AGENTS, _USERS, _SERVERS = 100, 20, 50, 20
_RUNS_OF_A_SESSION = 5
_STATUSES = ["completed"] * 90 + ["failed"] * 7 + ["cancelled"] * 3
_WORDS = ("the", "agent", "reads", "a", "file", "and", "writes", "what", "it", "found", "for", "who", "asked")


def fill(cast: dict[str, list[Any]], *, runs: int, events: int, days: int, first: int = 0) -> None:
    """So many runs over so many days, in sessions of five, half of them of tasks; and their steps and events.

    `first`: how many runs there are already, a multiple of five.
    """
    dice = random.Random(first)
    began = timezone.now() - datetime.timedelta(days=days)
    step = datetime.timedelta(days=days) / runs
    per_run = max(1, events // runs)
    created_at = Run._meta.get_field("created_at")
    created_at.auto_now_add = False  # type: ignore[union-attr] — these are of long ago
    try:
        for begin in range(0, runs, _BATCH):
            moments = [began + n * step for n in range(begin, min(runs, begin + _BATCH))]
            with transaction.atomic():
                _write(dice, cast, moments, first + begin, per_run)
    finally:
        created_at.auto_now_add = True  # type: ignore[union-attr]


def make_cast() -> dict[str, list[Any]]:
    """Users, agents, servers and tasks."""
    User = get_user_model()
    boss = User.objects.create_superuser("boss", "", PASSWORD)
    users = [boss, *(User(username=f"user-{n}", password="!") for n in range(1, _USERS))]
    User.objects.bulk_create(users[1:])
    users = list(User.objects.order_by("pk"))
    provider = Provider.objects.create(name="lab", base_url="http://127.0.0.1:1/v1", default_model="m")
    agents = [Agent(name=f"agent-{n}", provider=provider, role="Does things") for n in range(_AGENTS)]
    Agent.objects.bulk_create(agents)
    servers = [
        McpServer(name=f"server-{n}", command="true", tool_names=["a", "b"], check_ok=True) for n in range(_SERVERS)
    ]
    McpServer.objects.bulk_create(servers)
    tasks = [
        ScheduledTask(
            name=f"Task {n}",
            owner=users[n % len(users)],
            agent=agents[n % len(agents)],
            task_prompt="Summarise.",
            schedule_type="interval",
            schedule_value="300",
        )
        for n in range(_TASKS)
    ]
    for task in tasks:
        task.save()
    now = timezone.now()
    Skip.objects.bulk_create(
        Skip(task=task, scheduled_for=now, until=now, reason="overlap") for task in tasks for _ in range(50)
    )
    return {"users": users, "agents": agents, "tasks": tasks}


def _write(
    dice: random.Random, cast: dict[str, list[Any]], moments: list[datetime.datetime], first: int, per_run: int
) -> None:
    sessions, runs, steps, events, approvals, deliveries = {}, [], [], [], [], []
    for number, at in enumerate(moments, start=first):
        place = number // _RUNS_OF_A_SESSION
        agent = cast["agents"][place % _AGENTS]
        key = f"s-{place:08d}"
        session = sessions.get(key) or Session(
            pk=key,
            name=key,
            owner=cast["users"][place % _USERS],
            agent=agent,
            title=f"the agent {_text(dice, 4)}",
            run_count=_RUNS_OF_A_SESSION,
        )
        sessions[key] = session
        run = _run(dice, session, agent, number, at, cast["tasks"][number % _TASKS] if number % 2 else None)
        offset = number % _RUNS_OF_A_SESSION * per_run
        run.first_seq, run.last_seq = offset + 1, offset + per_run
        session.last_seq = run.last_seq
        runs.append(run)
        steps += _steps(dice, run, at)
        when = at.strftime(CREATED_AT[connection.vendor])
        events += [
            [key, n, n, run.pk.hex, "reasoning_step", _DATA, when] for n in range(offset + 1, offset + per_run + 1)
        ]
        if number % 50 == 0:
            approvals.append(
                Approval(run=run, step=1, tool_call_id="c", tool_name="files__write", status="approved", expires_at=at)
            )
        if run.task and number % 10 == 1:
            deliveries.append(Delivery(task=run.task, run=run, status="delivered", attempts=1, next_attempt_at=at))
    Session.objects.bulk_create(sessions.values(), ignore_conflicts=True)
    Run.objects.bulk_create(runs, batch_size=500)
    log_sql.insert(events)
    for model, rows in ((Step, steps), (Approval, approvals), (Delivery, deliveries)):
        model.objects.bulk_create(rows, batch_size=500)  # type: ignore[attr-defined]


def _run(dice: random.Random, session: Session, agent: Agent, number: int, at: datetime.datetime, task: Any) -> Run:
    started = at + datetime.timedelta(milliseconds=dice.randrange(5, 200))
    input_tokens, answered = dice.randrange(200, 20_000), dice.randrange(20, 2000)
    return Run(
        id=uuid.UUID(int=dice.getrandbits(128), version=4),
        session=session,
        number=number % _RUNS_OF_A_SESSION + 1,
        agent=agent,
        agent_name=agent.name,
        task=task,
        scheduled_for=at if task else None,
        settled=True,
        trigger="schedule" if task else "chat",
        prompt=_text(dice, 40),
        result=_text(dice, 200),
        created_at=at,
        status=dice.choice(_STATUSES),
        model="gpt-4o",
        cost=Decimal(input_tokens * 25 + answered * 100) / 10_000_000,
        **Run.used({"input_tokens": input_tokens, "output_tokens": answered, "requests": 3, "tool_calls": 2}),
        started_at=started,
        finished_at=started + datetime.timedelta(milliseconds=dice.randrange(500, 60_000)),
    )


def _steps(dice: random.Random, run: Run, at: datetime.datetime) -> list[Step]:
    kinds = ("thought", "tool_use", "tool_result", "final_answer")
    return [
        Step(
            run=run, index=index, iteration=index // 3 + 1, kind=kind, content=_text(dice, 30),
            started_at=at, finished_at=at,
        )
        for index, kind in enumerate(kinds)
    ]  # fmt: skip


def _text(dice: random.Random, words: int) -> str:
    return " ".join(dice.choices(_WORDS, k=words))


def client() -> Client:
    """A browser of an administrator's."""
    made = Client(headers={"host": "localhost"})
    made.force_login(get_user_model().objects.filter(is_superuser=True).order_by("pk")[0])
    return made


def pages() -> Iterator[tuple[str, str]]:
    """The admin's pages, each with a name: its lists, one row of each, searches and filters, and the control room."""
    yield "index", reverse("admin:index")
    yield "control room", reverse("control_room:page")
    yield "control room, 90 days", reverse("control_room:page") + "?days=90"
    for model in [*apps.get_app_config("agents_app").get_models(), get_user_model()]:
        name = model._meta.model_name
        try:
            address = reverse(f"admin:{model._meta.app_label}_{name}_changelist")
        except Exception:
            continue
        yield f"{name} list", address
        if row := model._base_manager.order_by("-pk").first():
            yield f"{name} page", reverse(f"admin:{model._meta.app_label}_{name}_change", args=[row.pk])
    run = Run.objects.order_by("-created_at")[0]
    runs, events, steps = (reverse(f"admin:agents_app_{name}_changelist") for name in ("run", "event", "step"))
    sessions = reverse("admin:agents_app_session_changelist")
    yield "run list: failed", f"{runs}?status__exact=failed"
    yield "run list: queued (none)", f"{runs}?status__exact=queued"
    yield "run list: of an agent", f"{runs}?agent__id__exact={run.agent_id}"
    week = timezone.now() - datetime.timedelta(days=7)
    yield "run list: a week", f"{runs}?created_at__gte={week:%Y-%m-%dT%H:%M:%SZ}"
    yield "run list: by id", f"{runs}?q={run.pk}"
    yield "run list: by session", f"{runs}?q={run.session_id}"
    yield "run list: of a session", f"{runs}?session__id={run.session_id}"
    yield "run list: by words", f"{runs}?q=who+asked"
    yield "run list: by words that are nowhere", f"{runs}?q=xyzzy"
    yield "run list: page 20", f"{runs}?p=20"
    yield "session list: by user", f"{sessions}?q=user-7"
    yield "session list: by title", f"{sessions}?q=the+agent"
    yield "event list: of a session", f"{events}?q={run.session_id}"
    yield "event list: of a run", f"{events}?q={run.pk}"
    yield "event list: errors (none)", f"{events}?type=error"
    yield "step list: of a run", f"{steps}?run__id={run.pk}"
    yield "step list: failed (none)", f"{steps}?is_error__exact=1"

"""How things stand right now, over all instances: what waits, what goes on, and who works."""

import datetime
from dataclasses import dataclass

from django.db.models import Count, Min
from django.utils import timezone

from agents_app import scheduler
from agents_app.models import Approval, McpServer, Run, ScheduledTask, WorkerProcess

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Status:
    """Numbers of runs by status; `queue_lag` and `lateness` are in seconds. Lists have the first few, oldest first."""

    queued: int
    running: int
    waiting: int
    queue_lag: float
    lateness: float
    workers: list[WorkerProcess]
    going_on: list[Run]
    approvals: list[Approval]

    @property
    def is_attended(self) -> bool:
        """Whether any worker lives."""
        return any(not worker.is_silent for worker in self.workers)


def now() -> Status:
    """As the database has it."""
    unfinished = Run.objects.unfinished().order_by()
    counts = dict(unfinished.values_list("status").annotate(count=Count("*")))
    oldest = unfinished.waiting_for_a_worker().aggregate(since=Min("created_at"))["since"]
    going_on = Run.objects.unfinished().filter(status=Run.Status.RUNNING).order_by("created_at")
    pending = Approval.objects.filter(status=Approval.Status.PENDING).order_by("expires_at").select_related("run")
    return Status(
        queued=counts.get(Run.Status.QUEUED, 0),
        running=counts.get(Run.Status.RUNNING, 0),
        waiting=counts.get(Run.Status.WAITING, 0),
        queue_lag=max(0.0, (timezone.now() - oldest).total_seconds()) if oldest else 0.0,
        lateness=scheduler.overdue(),
        workers=list(WorkerProcess.objects.all()),
        going_on=list(going_on.only("agent_name", "prompt", "created_at", "started_at", "worker")[:_SHOWN]),
        approvals=list(pending[:_SHOWN]),
    )


def next_fires() -> list[ScheduledTask]:
    """The tasks that are due next."""
    due = ScheduledTask.objects.filter(next_run_at__isnull=False).order_by("next_run_at")
    return list(due.defer("webhook_secret").select_related("agent")[:_SHOWN])


def servers() -> list[McpServer]:
    """The MCP servers, those that do not work first."""
    return list(McpServer.objects.defer("env", "headers").order_by("-enabled", "check_ok", "name")[: 5 * _SHOWN])


def since(moment: datetime.datetime | None) -> float:
    """Seconds from then to now."""
    return (timezone.now() - moment).total_seconds() if moment else 0.0


def age(seconds: float) -> str:
    """A length of time for people."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"

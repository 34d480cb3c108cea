"""Usage: runs, failures, tokens and cost per day, agent and user, summed from one index of the runs."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import Count, F, Func, QuerySet, Sum
from django.utils import timezone

from agents_app.models import Run

_SAMPLE = 2000  # of the newest runs, for percentiles
PERCENTILES = (50, 90, 99)


@dataclass(slots=True)
class Usage:
    """A sum over finished runs. `unpriced` counts those without a price."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = field(default=Decimal(0))
    unpriced: int = 0

    @property
    def runs(self) -> int:
        return self.completed + self.failed + self.cancelled

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def success(self) -> str:
        """Return the share of completed runs among those that nobody cancelled."""
        ended = self.completed + self.failed
        return f"{100 * self.completed // ended} %" if ended else "—"

    def add(self, row: Mapping[str, Any]) -> None:
        setattr(self, row["status"], getattr(self, row["status"]) + row["runs"])
        self.input_tokens += row["prompt_tokens"] or 0
        self.output_tokens += row["answered"] or 0
        self.cost += row["dollars"] or 0
        self.unpriced += row["runs"] - row["priced"]


NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds by percentile, of the newest runs: their wait for a worker, and their duration after it."""

    sample: int
    waited: dict[int, float]
    took: dict[int, float]


class _Day(Func):
    """The day in UTC, as YYYY-MM-DD. Django's own asks Python for each row of SQLite."""

    output_field = models.CharField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="substr(%(expressions)s, 1, 10)", **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
        return self.as_sql(compiler, connection, template=template, **context)


def since_days(days: int) -> datetime.datetime:
    """Return the start, in UTC, of a period of `days` days that ends today."""
    today = timezone.now().astimezone(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - datetime.timedelta(days=days - 1)


def by_agent(since: datetime.datetime, *, user: Any) -> dict[str, Usage]:
    """Return the usage since then by agent name, of the runs that `user` may see."""
    return _summed(_ended(since).visible_to(user), "agent_name")


def by_user(since: datetime.datetime) -> dict[str, Usage]:
    """Return the usage since then by user name, of the owners of the sessions."""
    by_id = _summed(_ended(since), "session__owner_id")
    names = dict(get_user_model().objects.filter(pk__in=[pk for pk in by_id if pk]).values_list("pk", "username"))
    return {names.get(pk, "nobody"): used for pk, used in by_id.items()}


def by_day_and_agent(since: datetime.datetime) -> dict[tuple[str, str], Usage]:
    """Return the usage since then by day (YYYY-MM-DD in UTC) and agent name."""
    return _summed(_ended(since).annotate(day=_Day(F("finished_at"))), "day", "agent_name")


def total(uses: Iterable[Usage]) -> Usage:
    """Return the sum."""
    whole = Usage()
    for used in uses:
        for name in Usage.__slots__:
            setattr(whole, name, getattr(whole, name) + getattr(used, name))
    return whole


def latencies(agent: str = "") -> Latencies:
    """Return the percentiles of the newest completed runs, of one agent or of all."""
    # By the time alone, in the order of an index that has all of this: the status is looked at here.
    ended = Run.objects.filter(finished_at__isnull=False).order_by("-finished_at")
    if agent:
        ended = ended.filter(agent_name=agent)
    rows = ended.values_list("status", "created_at", "started_at", "finished_at")[:_SAMPLE]
    waited, took = [], []
    for status, created_at, started_at, finished_at in rows:
        if status == Run.Status.COMPLETED and started_at and finished_at:
            waited.append((started_at - created_at).total_seconds())
            took.append((finished_at - started_at).total_seconds())
    return Latencies(len(took), percentiles(waited), percentiles(took))


def percentiles(values: list[float]) -> dict[int, float]:
    """Return the percentiles by nearest rank."""
    ranked = sorted(values)
    return {p: ranked[max(0, -(-p * len(ranked) // 100) - 1)] for p in PERCENTILES} if ranked else {}


def _ended(since: datetime.datetime) -> Any:
    return Run.objects.filter(finished_at__gte=since)


def _summed(runs: QuerySet[Run], *keys: str) -> dict[Any, Usage]:
    rows = (
        runs.order_by()
        .values(*keys, "status")
        .annotate(
            runs=Count("*"),
            priced=Count("cost"),
            prompt_tokens=Sum("input_tokens"),
            answered=Sum("output_tokens"),
            dollars=Sum("cost"),
        )
    )
    usage: defaultdict[Any, Usage] = defaultdict(Usage)
    for row in rows:
        usage[row[keys[0]] if len(keys) == 1 else tuple(row[key] for key in keys)].add(row)
    return dict(usage)

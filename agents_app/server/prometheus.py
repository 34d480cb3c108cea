"""`/metrics` for Prometheus: what this process counts, and what only the database knows."""

import hmac
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import DatabaseError
from django.db.models import Count, Exists, Min, OuterRef
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import REGISTRY, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from agents_app import queue, scheduler
from agents_app.access import callers
from agents_app.api.errors import error_response
from agents_app.database.threads import DatabaseThreads
from agents_app.models import Approval, Run
from agents_app.network import is_loopback
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

PATH = "/metrics"
KEPT = 5.0  # seconds for which the database is not asked again
_FORWARDED = ("X-Forwarded-For", "X-Real-Ip", "Forwarded", "Via")
_database = DatabaseThreads("metrics", 1)


async def answer(request: HttpRequest) -> HttpResponse:
    """The metrics, to those who may see them."""
    try:
        allowed = _is_neighbour(request) or _has_our_token(request) or await _database.run(_is_administrator, request)
    except DatabaseError:
        allowed = False
    if not allowed:
        response = error_response(401, "Send METRICS_TOKEN or an administrator's token.", "not_authenticated")
        response["WWW-Authenticate"] = "Bearer"
        return response
    await _stored.refresh()
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(REGISTRY), content_type=content_type)


def _is_neighbour(request: HttpRequest) -> bool:
    """Whether a program of this machine asks, by itself: not a proxy for others, not a page that rebinds its name."""
    if not is_loopback(request.META.get("REMOTE_ADDR", "")) or "Origin" in request.headers:
        return False
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return bool(request.get_host())
    except DisallowedHost:
        return False


def _has_our_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    wanted = settings.METRICS_TOKEN
    return bool(wanted) and scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), wanted.encode())


def _is_administrator(request: HttpRequest) -> bool:
    header = request.headers.get("Authorization", "")
    caller = callers.of_authorization(header) if header else None
    return caller is not None and caller.user.is_superuser


def serve() -> None:
    """Answer on METRICS_PORT, for a process that serves nothing else; on a thread of its own.

    Raises:
        OSError: the port cannot be had.
    """
    if settings.METRICS_PORT:
        start_http_server(settings.METRICS_PORT, settings.METRICS_HOST)


# What the database knows


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look at the database brought. `oldest` and `overdue` are in seconds."""

    runs: dict[str, int]
    oldest: float
    approvals: int
    overdue: float
    workers: int


def _look() -> _Found:
    unfinished = Run.objects.unfinished().order_by()
    ahead = Run.objects.unfinished().filter(session=OuterRef("session"), number__lt=OuterRef("number"))
    # What waits behind a run of its own session does not wait for us.
    waiting = unfinished.filter(~Exists(ahead), status=Run.Status.QUEUED).aggregate(since=Min("created_at"))["since"]
    return _Found(
        runs=dict(unfinished.values_list("status").annotate(count=Count("pk"))),
        oldest=max(0.0, (timezone.now() - waiting).total_seconds()) if waiting else 0.0,
        approvals=Approval.objects.filter(status=Approval.Status.PENDING).count(),
        overdue=scheduler.overdue(),
        workers=queue.workers_seen(),
    )


class _Stored(Collector):
    """The state of all instances together, as the database has it. Every web process tells the same: take one's."""

    def __init__(self) -> None:
        self._found: _Found | None = None
        self._at: float | None = None

    async def refresh(self) -> None:
        """Look again, unless somebody has just done so."""
        if self._at is not None and time.monotonic() < self._at + KEPT:
            return
        self._at = time.monotonic()
        try:
            self._found = await _database.run(_look)
        except DatabaseError as error:
            logger.warning("The database does not tell its metrics: %r", error)
            self._found = None

    def collect(self) -> Iterable[Metric]:
        if self._at is None:  # a worker does not ask
            return
        found = self._found
        yield _gauge("database_up", "Whether the database answers.", float(found is not None))
        if found is None:  # what nobody knows is left out
            return
        runs = GaugeMetricFamily("aintandem_runs", "Unfinished runs of all instances.", labels=["status"])
        for status in Run.UNFINISHED:
            runs.add_metric([status.value], found.runs.get(status, 0))
        yield runs
        yield _gauge("queue_depth", "Runs that wait for a worker or their session.", found.runs.get("queued", 0))
        yield _gauge("queue_oldest_seconds", "How long the oldest run has waited for a worker.", found.oldest)
        yield _gauge("approvals_pending", "Calls of tools that wait for a person.", found.approvals)
        yield _gauge("schedule_overdue_seconds", "How long the oldest due task has waited for its fire.", found.overdue)
        yield _gauge("workers", "Workers that are alive.", found.workers)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"aintandem_{name}", text, value)


_stored = _Stored()
REGISTRY.register(_stored)
metrics.BUILD.labels(settings.VERSION).set(1)

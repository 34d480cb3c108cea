"""`/metrics` for Prometheus: the counters of this process, and gauges read from the database."""

import hmac
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.db import DatabaseError
from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.utils import timezone
from prometheus_client import REGISTRY, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer, choose_encoder
from prometheus_client.registry import Collector

from agents_app import scheduler
from agents_app.access import callers, open_mode, origins
from agents_app.api.error_responses import error_response
from agents_app.database.threads import DatabaseThreads
from agents_app.models import Approval, Budget, Run
from agents_app.network import is_loopback
from agents_app.observability import metrics
from agents_app.queue import run_queue

logger = logging.getLogger(__name__)

PATH = "/metrics"
CACHE_TIME = 5.0  # seconds
_database = DatabaseThreads("metrics", 1)


async def answer(request: HttpRequest) -> HttpResponse:
    """Return the metrics if the caller may see them."""
    try:
        allowed = (
            _is_local_program(request) or _has_metrics_token(request) or await _database.run(_is_administrator, request)
        )
    except DatabaseError:
        allowed = False
    if not allowed:
        response = error_response(401, "Send METRICS_TOKEN or an administrator's token.", "not_authenticated")
        response["WWW-Authenticate"] = "Bearer"
        return response
    await _collector.refresh()
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(REGISTRY), content_type=content_type)


def _is_local_program(request: HttpRequest) -> bool:
    """Return whether a program on this machine asks for itself: not a proxy, and not a web page by DNS rebinding."""
    if not is_loopback(request.META.get("REMOTE_ADDR", "")) or "Origin" in request.headers:
        return False
    if open_mode.proxy_header(request.headers):
        return False
    host = request.headers.get("Host", "")
    return is_loopback(split_domain_port(host)[0]) or origins.host_allowed(host)


def _has_metrics_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    expected = settings.METRICS_TOKEN
    return (
        bool(expected) and scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), expected.encode())
    )


def _is_administrator(request: HttpRequest) -> bool:
    header = request.headers.get("Authorization", "")
    caller = callers.of_authorization(header) if header else None
    return caller is not None and caller.user.is_superuser


# The metrics of a process that serves nothing else


class _Handler(WSGIRequestHandler):
    timeout = 10  # seconds that a request may take to arrive

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve() -> None:
    """Serve METRICS_PORT on a thread, to the same programs as `answer`, except those with an administrator's token.

    Raises:
        OSError: the port is not available.
    """
    if not settings.METRICS_PORT:
        return
    host = settings.METRICS_HOST

    class Server(ThreadingWSGIServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    server = make_server(host, settings.METRICS_PORT, worker_metrics, Server, _Handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


_all_metrics = make_wsgi_app()


def worker_metrics(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application. Whoever reaches the port from elsewhere needs METRICS_TOKEN."""
    request = WSGIRequest(environ)
    if _has_metrics_token(request) or _is_local_program(request):
        return _all_metrics(environ, start_response)
    start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer"), ("Content-Type", "text/plain; charset=utf-8")])
    return [b"Send METRICS_TOKEN: Authorization: Bearer TOKEN.\n"]


# Gauges from the database


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """Numbers from the database. `oldest` and `overdue` are in seconds."""

    runs: dict[str, int]
    oldest: float
    approvals: int
    overdue: float
    workers: int
    budgets: dict[str, int]


def _read_snapshot() -> _Snapshot:
    unfinished = Run.objects.unfinished().order_by()
    since = unfinished.waiting_for_a_worker().aggregate(since=Min("created_at"))["since"]
    return _Snapshot(
        runs=dict(unfinished.values_list("status").annotate(count=Count("pk"))),
        oldest=max(0.0, (timezone.now() - since).total_seconds()) if since else 0.0,
        approvals=Approval.objects.filter(status=Approval.Status.PENDING).count(),
        overdue=scheduler.overdue(),
        workers=run_queue.workers_alive(),
        budgets=_budgets(),
    )


_NEAR = 0.8  # of a limit


def _budgets() -> dict[str, int]:
    shares = [row.share for row in Budget.objects.filter(enabled=True)]
    reached = sum(share >= 1 for share in shares)
    near = sum(_NEAR <= share < 1 for share in shares)
    return {"open": len(shares) - near - reached, "near": near, "reached": reached}


class _DatabaseCollector(Collector):
    """The state of all instances together. Every web process reports the same: use the numbers of one."""

    def __init__(self) -> None:
        self._snapshot: _Snapshot | None = None
        self._read_at: float | None = None

    async def refresh(self) -> None:
        """Read the database, unless that was done within CACHE_TIME."""
        if self._read_at is not None and time.monotonic() < self._read_at + CACHE_TIME:
            return
        self._read_at = time.monotonic()
        try:
            self._snapshot = await _database.run(_read_snapshot)
        except DatabaseError as error:
            logger.warning("Cannot read metrics from the database: %r", error)
            self._snapshot = None

    def collect(self) -> Iterable[Metric]:
        if self._read_at is None:  # a worker never refreshes
            return
        snapshot = self._snapshot
        yield _gauge("database_up", "Whether the database answers.", float(snapshot is not None))
        if snapshot is None:  # leave out unknown values
            return
        runs = GaugeMetricFamily("aintandem_runs", "Unfinished runs of all instances.", labels=["status"])
        for status in Run.UNFINISHED:
            runs.add_metric([status.value], snapshot.runs.get(status, 0))
        yield runs
        yield _gauge(
            "queue_depth",
            "Runs that wait for a worker or an earlier run.",
            snapshot.runs.get("queued", 0),
        )
        yield _gauge("queue_oldest_seconds", "How long the oldest run has waited for a worker.", snapshot.oldest)
        yield _gauge("approvals_pending", "Tool calls that wait for approval.", snapshot.approvals)
        yield _gauge("schedule_overdue_seconds", "For how long the oldest due task has been overdue.", snapshot.overdue)
        yield _gauge("workers", "Workers that are alive.", snapshot.workers)
        budgets = GaugeMetricFamily(
            "aintandem_budgets",
            "Budgets below 80 % of their limit, near it (near), or used up (reached).",
            labels=["state"],
        )
        for state, count in snapshot.budgets.items():
            budgets.add_metric([state], count)
        yield budgets


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"aintandem_{name}", text, value)


_collector = _DatabaseCollector()
REGISTRY.register(_collector)
metrics.BUILD.labels(settings.VERSION).set(1)

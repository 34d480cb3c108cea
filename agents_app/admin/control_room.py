"""The control room: how things stand, what was used up, and what comes next. For administrators."""

import datetime
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from agents_app.admin import charts, status, usage
from agents_app.admin.base import dollars
from agents_app.live import sockets
from agents_app.models import Agent

PERIODS = (7, 14, 30, 90)
_MOST_LINES = 20
_MOST_BARS = 30  # of a plot; what would be more days is weeks


def _for_administrators(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Numbers of everybody's runs are for those who may see everybody's runs."""

    def checked(request: HttpRequest, **arguments: Any) -> HttpResponse:
        if not request.user.is_superuser:
            raise PermissionDenied
        return view(request, **arguments)

    return admin.site.admin_view(never_cache(require_safe(checked)))


def page(request: HttpRequest) -> HttpResponse:
    """All of it. What changes by the second, the page asks for again and again by itself."""
    choice = request.GET.get("days", "")
    days = int(choice) if choice in map(str, PERIODS) else PERIODS[1]
    agent = request.GET.get("agent", "")[:64]
    used = usage.by_day_and_agent(usage.since_days(days))
    shown = {key: each for key, each in used.items() if agent in ("", key[1])}
    context = {
        **admin.site.each_context(request),
        "title": "Control room",
        "now": status.now(),
        "days": days,
        "periods": PERIODS,
        "agent": agent,
        "agents": sorted({name for _, name in used} | set(Agent.objects.values_list("name", flat=True)[:200])),
        "total": usage.total(shown.values()),
        "plots": [*_per_day(shown, days), _latencies(agent)],
        "by_agent": _largest(_joined(used, 1)),
        "by_user": _largest(usage.by_user(usage.since_days(days))),
        "tasks": status.next_fires(),
        "servers": status.servers(),
    }
    return TemplateResponse(request, "agents_app/admin/control_room.html", context)


def live(request: HttpRequest) -> HttpResponse:
    """The part that changes by the second, for the page to put in place of the old one."""
    context = {"now": status.now(), "sockets": len(async_to_sync(sockets.connections)())}
    return TemplateResponse(request, "agents_app/admin/live.html", context)


def _joined(used: dict[tuple[str, str], usage.Usage], part: int) -> dict[str, usage.Usage]:
    """By the day, or by the agent, alone."""
    keys = {key[part] for key in used}
    return {name: usage.total(each for key, each in used.items() if key[part] == name) for name in keys}


def _largest(used: dict[str, usage.Usage]) -> list[tuple[str, usage.Usage]]:
    return sorted(used.items(), key=lambda item: (-item[1].cost, -item[1].runs, item[0]))[:_MOST_LINES]


def _per_day(used: dict[tuple[str, str], usage.Usage], days: int) -> list[charts.Plot]:
    by_day = _joined(used, 0)
    first = usage.since_days(days).date()
    dates = [first + datetime.timedelta(days=number) for number in range(days)]
    together = 7 if days > _MOST_BARS else 1
    each = [
        (
            f"{dates[n]:%d %b}",
            usage.total(by_day.get(date.isoformat(), usage.NOTHING) for date in dates[n : n + together]),
        )
        for n in range(0, days, together)
    ]
    each_week = ", by weeks" if together > 1 else ""
    runs = [(name, (day.completed, day.failed, day.cancelled)) for name, day in each]
    tokens = [(name, (day.input_tokens, day.output_tokens)) for name, day in each]
    cost = [(name, (float(day.cost),)) for name, day in each]
    return [
        charts.stacked("runs", f"Runs that ended{each_week}", runs, ("completed", "failed", "cancelled"), _count),
        charts.stacked("tokens", f"Tokens{each_week}", tokens, ("input", "output"), _count),
        charts.stacked("cost", f"Cost in US dollars{each_week}", cost, ("cost",), dollars),
    ]


def _latencies(agent: str) -> charts.Plot:
    latencies = usage.latencies(agent)
    columns = [
        (f"{what} p{percent}", (values.get(percent, 0.0),))
        for what, values in (("wait", latencies.waited), ("run", latencies.took))
        for percent in usage.PERCENTILES
    ]
    title = f"Latency of the newest {latencies.sample:,} completed runs"
    return charts.stacked("latency", title, columns, ("seconds",), lambda seconds: f"{seconds:.3g}")


def _count(number: float) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


app_name = "control_room"
urlpatterns = [
    path("", _for_administrators(page), name="page"),
    path("live", _for_administrators(live), name="live"),
]

"""The versions of an agent in the admin: what changed, how each did, and back to an earlier one."""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from agents_app.admin.base import dollars
from agents_app.admin.usage import percentiles
from agents_app.exceptions import AgentError
from agents_app.models import Agent, AgentVersion, Run
from agents_app.models.agent_versions import COLUMNS

_SHOWN = 100  # versions
_SAMPLE = 5000  # of the agent's newest runs
_MOST_LINES = 2000  # of a text, to compare: the effort grows with the square


@dataclass(slots=True)
class Outcomes:
    """How the runs of a version ended. `seconds`: durations of the completed ones."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    cost: Decimal = field(default=Decimal(0))
    seconds: list[float] = field(default_factory=list)

    @property
    def runs(self) -> int:
        return self.completed + self.failed + self.cancelled

    @property
    def dollars(self) -> str:
        return dollars(self.cost)

    @property
    def latency(self) -> str:
        """Return the median and the 90th percentile, in seconds."""
        ranks = percentiles(self.seconds)
        return f"{ranks[50]:.1f} · {ranks[90]:.1f}" if ranks else "—"


def versions(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the versions of an agent, and what differs between two of them."""
    if not request.user.is_superuser:
        raise PermissionDenied
    agent = get_object_or_404(Agent, pk=pk)
    if request.method == "POST":
        _activate(request, agent)
        return HttpResponseRedirect(request.path)
    rows: list[Any] = list(agent.versions.select_related("created_by").defer("spec")[:_SHOWN])
    outcomes = _outcomes(agent)
    for row in rows:
        row.outcomes = outcomes.get(row.pk, Outcomes())
    numbers = [row.number for row in rows]
    right = _number(request, "to", numbers[0] if numbers else 0)
    left = _number(request, "from", max(right - 1, 1))
    context = {
        **admin.site.each_context(request),
        "title": f"Versions of {agent.name}",
        "agent": agent,
        "versions": rows,
        "sample": _SAMPLE,
        "left": left,
        "right": right,
        "differences": list(_differences(agent, left, right)),
    }
    return TemplateResponse(request, "agents_app/admin/agent_versions.html", context)


def _activate(request: HttpRequest, agent: Agent) -> None:
    version = get_object_or_404(AgentVersion, agent=agent, number=_number(request, "activate", 0))
    assert request.user.pk is not None
    try:
        with transaction.atomic():
            agent.activate(version, by=request.user)
            message = f"Activated {version}."
            LogEntry.objects.log_actions(request.user.pk, [agent], CHANGE, message, single_object=True)
    except AgentError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{agent} works as in {version} again.")


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = (request.POST if request.method == "POST" else request.GET).get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else default


def _outcomes(agent: Agent) -> dict[Any, Outcomes]:
    """Return how the agent's newest runs ended, by the id of their version."""
    ended = Run.objects.filter(agent_name=agent.name, finished_at__isnull=False).order_by("-finished_at")
    rows = ended.values_list("agent_version", "status", "cost", "started_at", "finished_at")[:_SAMPLE]
    outcomes: dict[Any, Outcomes] = {}
    for version, status, cost, started_at, finished_at in rows:
        sums = outcomes.setdefault(version, Outcomes())
        setattr(sums, status, getattr(sums, status) + 1)
        sums.cost += cost or 0
        if status == Run.Status.COMPLETED and started_at and finished_at:
            sums.seconds.append((finished_at - started_at).total_seconds())
    return outcomes


def _differences(agent: Agent, left: int, right: int) -> Iterator[tuple[str, str]]:
    """Return the fields that differ, each with the lines that were removed and added."""
    specs = {version.number: version.spec for version in agent.versions.filter(number__in=(left, right))}
    if len(specs) < 2:
        return
    for name in ("provider", "fallback_models", "mcp_servers", *COLUMNS):
        if specs[left].get(name) != specs[right].get(name):
            before, after = (_lines(specs[number].get(name))[:_MOST_LINES] for number in (left, right))
            yield name, "\n".join(list(difflib.unified_diff(before, after, lineterm=""))[2:])


def _lines(value: Any) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return text.splitlines()

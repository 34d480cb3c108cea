"""Drafts of agents: what an editor tries before it is saved. Each is a version that is never the present one."""

import uuid
from typing import Any

from django.db import transaction

from agents_app.models.agent_versions import COLUMNS, AgentVersion, reference, spec_of
from agents_app.models.agents import Agent
from agents_app.models.fallback_models import FallbackModel

SUFFIX = "draft"


def name_of(agent: Agent) -> str:
    """Return by which name an editor talks to the own draft."""
    return f"{agent.name}@{SUFFIX}"


@transaction.atomic
def keep(agent: Agent, values: dict[str, Any], *, by: Any) -> AgentVersion:
    """Write the user's draft of the agent, instead of the one before. `values`: the fields that differ."""
    Agent.objects.select_for_update().filter(pk=agent.pk).first()  # one draft at a time
    spec = _spec(agent, values)
    drafts = AgentVersion.objects.filter(draft_of=agent, created_by=by).order_by("-created_at")
    newest = drafts.first()
    if newest is not None and newest.spec == spec:
        return newest
    draft = AgentVersion.objects.create(draft_of=agent, number=0, spec=spec, created_by=by)
    used = agent.runs.filter(agent_version__in=drafts.exclude(pk=draft.pk)).values("agent_version")
    drafts.exclude(pk=draft.pk).exclude(pk__in=used).delete()
    return draft


def id_of(agent: Agent, user: Any) -> uuid.UUID | None:
    """Return the id of the user's draft of the agent; None if there is none."""
    drafts = AgentVersion.objects.filter(draft_of=agent, created_by=user).order_by("-created_at")
    return drafts.values_list("pk", flat=True).first()


def _spec(agent: Agent, values: dict[str, Any]) -> dict[str, Any]:
    spec = spec_of(agent) | {name: values[name] for name in COLUMNS if name in values}
    if "provider" in values:
        provider = values["provider"]
        spec["provider"] = reference(provider)
    if "fallback_models" in values:
        fallbacks = (FallbackModel(**fields) for fields in values["fallback_models"])
        spec["fallback_models"] = [fallback.as_spec() for fallback in fallbacks]
    if "mcp_servers" in values:
        servers = sorted(values["mcp_servers"], key=lambda server: server.name)
        spec["mcp_servers"] = [{"id": server.pk, "name": server.name} for server in servers]
    return spec

"""Agents that users make for themselves: who may change which, and what such an agent may contain.

What it may contain is checked when it is written, and again when it runs: see `worker.specs`.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from agents_app.models import Agent, McpServer, Provider

MOST_AGENTS = 100  # of one user
MOST_ITERATIONS = 100
LONGEST_TIMEOUT = 3600  # seconds


def may_make_agents(user: Any) -> bool:
    return bool(user.is_superuser or settings.USER_AGENTS)


def is_editor(user: Any, agent: Agent) -> bool:
    """Whether `user` may see how the agent is made, and change it."""
    if user.is_superuser:
        return True
    return bool(settings.USER_AGENTS and agent.owner_id is not None and agent.owner_id == user.pk)


def may_use_model(provider: Provider | None, model: str, *, is_named: bool) -> bool:
    """Whether an agent of a user may use that model. `is_named`: the agent names the provider."""
    if provider is None or provider.open_to_users:
        return True
    is_default = not is_named or provider.is_default
    return is_default and model in ("", provider.default_model)


def check(user: Any, values: dict[str, Any], agent: Agent | None) -> None:
    """Reject what an ordinary user may not put into an agent. `values`: the fields that change.

    Raises:
        ValidationError: names the fields.
    """
    problems: dict[str, str] = {}
    if agent is None and user.agents.count() >= MOST_AGENTS:
        problems["name"] = f"You have {MOST_AGENTS} agents, which is the limit: delete one."
    if {"provider", "model"} & values.keys():
        problems |= _model_problem(values, agent)
    if fallbacks := values.get("fallback_models"):
        problems |= _fallback_problem(fallbacks, values.get("provider", agent.provider if agent else None))
    if closed := [server.name for server in values.get("mcp_servers", ()) if not server.open_to_users]:
        problems["mcp_servers"] = f"There is no MCP server {closed[0]!r} for agents of users."
    if values.get("max_iterations", 0) > MOST_ITERATIONS:
        problems["max_iterations"] = f"At most {MOST_ITERATIONS}."
    if values.get("timeout", 0) > LONGEST_TIMEOUT:
        problems["timeout"] = f"At most {LONGEST_TIMEOUT:,} seconds."
    if values.get("access") == Agent.Access.PUBLIC:
        problems["access"] = "Only administrators make agents public: share it with your groups."
    if values.get("is_default"):
        problems["is_default"] = "Only administrators choose the default agent."
    if values.get("allowed_users"):
        problems["allowed_users"] = "Only administrators name users: share it with your groups."
    if groups := values.get("allowed_groups"):
        own = set(user.groups.values_list("pk", flat=True))
        if foreign := [group.name for group in groups if group.pk not in own]:
            problems["allowed_groups"] = f"You are not in a group {foreign[0]!r}."
    if problems:
        raise ValidationError(problems)


def _model_problem(values: dict[str, Any], agent: Agent | None) -> dict[str, str]:
    provider: Provider | None = values.get("provider", agent.provider if agent else None)
    model = values.get("model", agent.model if agent else "")
    present = provider or Provider.objects.default()
    if may_use_model(present, model, is_named=provider is not None):
        return {}
    if provider is not None and not may_use_model(provider, "", is_named=True):
        return {"provider": f"There is no provider {provider.name!r} for agents of users."}
    return {"model": "Agents of users have the default model of this provider: leave this empty."}


def _fallback_problem(fallbacks: list[dict[str, Any]], own: Provider | None) -> dict[str, str]:
    for fallback in fallbacks:
        named = fallback.get("provider") or own
        model = fallback.get("model", "")
        if not may_use_model(named or Provider.objects.default(), model, is_named=named is not None):
            name = f"{model!r} of {named.name!r}" if named else f"{model!r}"
            return {"fallback_models": f"There is no model {name} for agents of users."}
    return {}


def open_servers() -> Any:
    """Return the MCP servers whose tools users may give to their agents."""
    return McpServer.objects.enabled().filter(open_to_users=True)

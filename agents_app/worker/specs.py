"""What the engine needs of a claimed run's agent: its version, with the present keys and addresses."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from agents_app.access import own_agents
from agents_app.database.prepared import Parameter, Prepared
from agents_app.engine.spec import AgentSpec, ModelChoice, ModelSpec, ServerSpec, ToolChoice
from agents_app.exceptions import RunFailed
from agents_app.models import McpServer, Provider, Run, prompt_variables
from agents_app.models.agent_versions import Definition, Fallback, Reference, current_id, definition, model_spec
from agents_app.models.overrides import NO_OVERRIDES, Overrides
from agents_app.runs import windows

_PROVIDER = Prepared(lambda: Provider.objects.filter(pk=Parameter("pk")).order_by())
_DEFAULT_PROVIDER = Prepared(lambda: Provider.objects.in_order_of_default()[:1])
_SERVER = Prepared(lambda: McpServer.objects.filter(pk=Parameter("pk")).order_by())


class RunSpec(NamedTuple):
    """The agent of a run, and the providers of its models, in their order."""

    spec: AgentSpec
    providers: list[Provider | None]


class Integrations:
    """The providers and MCP servers of the runs of one claim, each read once. They change while runs wait."""

    def __init__(self) -> None:
        self._providers: dict[int | None, Provider | None] = {}
        self._servers: dict[int, McpServer | None] = {}

    def provider(self, reference: Reference | None) -> Provider | None:
        """Return that provider, or the default one.

        Raises:
            RunFailed: it was deleted.
        """
        pk = reference.id if reference else None
        if pk not in self._providers:
            self._providers[pk] = _PROVIDER.first(pk=pk) if pk else _DEFAULT_PROVIDER.first()
        provider = self._providers[pk]
        if reference and provider is None:  # another one must not get the conversation
            text = f"The provider {reference.name!r} of this version of the agent was deleted."
            raise RunFailed(text, code="provider_not_found")
        return provider

    def server(self, reference: Reference, run: Run, *, is_of_user: bool = False) -> ServerSpec | None:
        """Return that server; None if it is disabled. One that was deleted costs its tools, not the run.

        By the server's scope, the connection is that of the run's user or session alone. `is_of_user`: for an agent
        that a user made. The server may be closed to these by now.
        """
        if reference.id not in self._servers:
            self._servers[reference.id] = _SERVER.first(pk=reference.id)
        server = self._servers[reference.id]
        if server is None:
            problem = f"The MCP server {reference.name!r} was deleted."
            return ServerSpec(reference.name, McpServer.Transport.STDIO, problem=problem)
        if is_of_user and not server.open_to_users:
            return None
        return server.spec(user_id=run.session.owner_id, session_id=run.session_id) if server.enabled else None


def run_spec(run: Run, integrations: Integrations) -> RunSpec | None:
    """Return the agent of the run, as it was when the run was accepted; None if the agent was deleted.

    Raises:
        RunFailed: the provider of its model was deleted, or is closed to agents of users.
    """
    if run.agent is None:
        return None
    version = definition(run.agent_version_id or current_id(run.agent))
    provider = integrations.provider(version.provider)
    is_of_user = run.agent.owner_id is not None
    if is_of_user and not own_agents.may_use_model(provider, version.model, is_named=version.provider is not None):
        text = "Agents of users may not use this model any more: choose another one."
        raise RunFailed(text, code="model_not_allowed")
    servers = filter(None, (integrations.server(each, run, is_of_user=is_of_user) for each in version.servers))
    fallbacks = list(_fallbacks(version, provider, integrations, is_of_user=is_of_user))
    spec = version.agent_spec(run.agent_name, provider, servers)
    if run.variables:
        spec = dataclasses.replace(spec, system_prompt=prompt_variables.fill(spec.system_prompt, run.variables))
    choices = tuple(
        ModelChoice(_with_window(model_spec(provider, each.model), provider), each.accepts)
        for each, provider in fallbacks
    )
    spec = dataclasses.replace(spec, model=_with_window(spec.model, provider), fallbacks=choices)
    return RunSpec(_with_overrides(spec, run.overrides), [provider, *(each for _, each in fallbacks)])


def _fallbacks(
    version: Definition, own: Provider | None, integrations: Integrations, *, is_of_user: bool
) -> Iterator[tuple[Fallback, Provider | None]]:
    """Yield the further models, each with its provider, but those that were deleted or are closed to users by now."""
    for fallback in version.fallbacks:
        try:
            provider = integrations.provider(fallback.provider) if fallback.provider else own
        except RunFailed:
            continue
        is_named = bool(fallback.provider or version.provider)
        if not is_of_user or own_agents.may_use_model(provider, fallback.model, is_named=is_named):
            yield fallback, provider


def _with_window(model: ModelSpec, provider: Provider | None) -> ModelSpec:
    return dataclasses.replace(model, context_tokens=windows.context_tokens(provider, model.model))


def _with_overrides(spec: AgentSpec, overrides: Overrides) -> AgentSpec:
    if overrides == NO_OVERRIDES:
        return spec
    prompt = "\n\n".join(filter(None, [spec.system_prompt, overrides.instructions]))
    parameters = dict(overrides.parameters)
    if "stop" in parameters:
        parameters["stop"] = tuple(parameters["stop"])
    if "tool_choice" in parameters:
        parameters["tool_choice"] = ToolChoice(**parameters["tool_choice"])
    limits = dataclasses.replace(spec.limits, timeout=overrides.timeout) if overrides.timeout else spec.limits
    return dataclasses.replace(
        spec,
        system_prompt=prompt,
        parameters=dataclasses.replace(spec.parameters, **parameters),
        client_tools=spec.client_tools + overrides.client_tools,
        limits=limits,
        compact_threshold=overrides.compaction.get("threshold"),
        keeps_earlier=not overrides.compaction,
    )

"""Versions of agents: what a run needs of its agent, and never changes."""

import contextlib
import functools
import uuid
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models.signals import m2m_changed

from agents_app.database.prepared import Parameter, Prepared
from agents_app.engine import client_tools
from agents_app.engine.spec import AgentSpec, Limits, ModelSpec, Parameters, ServerSpec
from agents_app.models import prompt_variables

# The columns of an agent that a version holds, beside `provider` and `mcp_servers`. Who may use the agent is not among
# them, nor are keys, addresses and headers of providers and servers: those change under runs that wait.
COLUMNS = (
    "role", "description", "system_prompt", "model", "temperature", "top_p", "max_tokens", "reasoning_effort",
    "thinking_budget", "accepts", "builtin_tools", "client_tools", "allowed_tools", "denied_tools", "approval_required",
    "approval_timeout", "max_iterations", "timeout", "max_total_tokens",
    "compaction", "compact_at",
)  # fmt: skip
LATER_COLUMNS: dict[str, Any] = {  # which older versions do not hold
    "accepts": None,
    "client_tools": [],
    "compaction": "summary",
    "compact_at": 80,
}
LONGEST_NOTE = 200


class AgentVersion(models.Model):
    """An agent as it was from one change to the next. Never changed.

    `spec`: the columns above; `provider` and `mcp_servers` as objects of `id` and `name`; `fallback_models` as objects
    of `provider`, `model` and `accepts`. Older versions lack `accepts` and `fallback_models`.
    """

    # Never used again, not even after a rollback or in a restored database: processes keep specs by it.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    agent = models.ForeignKey(
        "agents_app.Agent", null=True, on_delete=models.SET_NULL, related_name="versions", help_text="Empty if deleted."
    )
    draft_of = models.ForeignKey(
        "agents_app.Agent",
        null=True,
        on_delete=models.SET_NULL,
        related_name="drafts",
        help_text="Agent that an editor is about to change. Such a version is nobody else's, and its `agent` is empty.",
    )
    number = models.PositiveIntegerField(help_text="1, 2, 3 … for each agent. 0 for a draft.")
    spec = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Empty if a program or a file changed the agent.",
    )
    note = models.CharField(max_length=LONGEST_NOTE, blank=True, help_text="Reason of the change.")

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["agent", "number"], name="agent_version_number"),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"


# Write versions


_changes: ContextVar[dict[int, Any] | None] = ContextVar("changes of agents", default=None)


@contextlib.contextmanager
def one_version(*, by: Any = None, note: str = "") -> Iterator[None]:
    """Write one version of each agent that changes in the block, in the same transaction: a form saves it twice."""
    changed: dict[int, Any] = {}
    with transaction.atomic():
        token = _changes.set(changed)
        try:
            yield
        finally:
            _changes.reset(token)
        for agent in changed.values():
            record(agent, by=by, note=note)


def agent_changed(agent: Any) -> None:
    """Write the agent's version: now, or at the end of the block of `one_version`."""
    changes = _changes.get()
    if changes is None:
        record(agent)
    else:
        changes[agent.pk] = agent


def record(agent: Any, *, by: Any = None, note: str = "") -> AgentVersion:
    """Return the agent's version as of now; write it if the last one is another."""
    agents = type(agent)._base_manager
    with transaction.atomic():
        row = agents.select_for_update().get(pk=agent.pk)
        spec = spec_of(row)
        newest = AgentVersion.objects.filter(agent=row).order_by("-number").first()
        if newest is None or _identity(newest.spec) != _identity(spec):
            number = newest.number + 1 if newest else 1
            newest = AgentVersion.objects.create(agent=row, number=number, spec=spec, created_by=by, note=note)
        if row.current_version_id != newest.pk:
            agents.filter(pk=row.pk).update(current_version=newest)
    agent.current_version = newest
    return newest


def spec_of(agent: Any) -> dict[str, Any]:
    servers = agent.mcp_servers.order_by("name").values("id", "name")
    return {
        **{name: getattr(agent, name) for name in COLUMNS},
        "client_tools": client_tools.checked(agent.client_tools, "client_tools"),
        "provider": reference(agent.provider),
        "mcp_servers": list(servers),
        "fallback_models": [
            each.as_spec() for each in agent.fallback_models.select_related("provider").order_by("position")
        ],
    }


def reference(provider: Any) -> dict[str, Any] | None:
    """Return how a spec names a provider."""
    return {"id": provider.pk, "name": provider.name} if provider else None


def provider_ids_of(spec: dict[str, Any]) -> Iterator[int]:
    """Yield the ids of the providers that a spec names."""
    for each in (spec, *spec.get("fallback_models", [])):
        if each["provider"]:
            yield each["provider"]["id"]


def _identity(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what makes a spec another one. A provider or server with a new name is the same."""
    provider = spec["provider"] and spec["provider"]["id"]
    servers = {server["id"] for server in spec["mcp_servers"]}
    fallbacks = [
        each | {"provider": each["provider"] and each["provider"]["id"]} for each in spec.get("fallback_models", [])
    ]
    return LATER_COLUMNS | spec | {"provider": provider, "mcp_servers": servers, "fallback_models": fallbacks}


def watch_servers(through: Any) -> None:
    """Write a version also if somebody adds or removes an MCP server of an agent by hand. `through`: their table."""
    m2m_changed.connect(_servers_changed, sender=through, dispatch_uid="versions")


def _servers_changed(instance: Any, action: str, reverse: bool, pk_set: Any, model: Any, **_: Any) -> None:
    if action in ("post_add", "post_remove", "post_clear"):
        for agent in model.objects.filter(pk__in=pk_set or ()) if reverse else [instance]:
            agent_changed(agent)


# Read versions


@dataclass(frozen=True, slots=True)
class Reference:
    """A provider or an MCP server, and its name when the version was written."""

    id: int
    name: str


def model_spec(provider: Any, model: str) -> ModelSpec:
    """Return a model of a provider, with its present key and address. An empty name is the provider's default model."""
    if provider is None:
        return ModelSpec(kind="", base_url="", api_key="", headers=(), model=model, context_tokens=8192)
    return ModelSpec(
        kind=provider.kind,
        base_url=provider.base_url,
        api_key=provider.secret(),
        headers=tuple(sorted(provider.headers.items())),
        model=model or provider.default_model,
        context_tokens=provider.context_tokens,
        provider=provider.name,
        circuit=provider.circuit,
        first_token_timeout=provider.first_token_timeout,
    )


@dataclass(frozen=True, slots=True)
class Fallback:
    """A further model. Without a provider it is one of the agent's."""

    provider: Reference | None
    model: str
    accepts: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Definition:
    """The spec of a version as values."""

    number: int
    system_prompt: str
    variables: tuple[str, ...]
    provider: Reference | None
    model: str
    parameters: Parameters
    accepts: tuple[str, ...] | None
    fallbacks: tuple[Fallback, ...]
    builtin_tools: tuple[str, ...]
    client_tools: tuple[dict[str, Any], ...]
    servers: tuple[Reference, ...]
    allowed_tools: tuple[str, ...]
    denied_tools: tuple[str, ...]
    approval_required: tuple[str, ...]
    limits: Limits
    compaction: str
    compact_at: int

    def agent_spec(self, name: str, provider: Any, servers: Iterable[ServerSpec]) -> AgentSpec:
        """Return what the engine needs to run this version with a model of `provider` and the tools of `servers`."""
        return AgentSpec(
            name=name,
            system_prompt=self.system_prompt,
            model=model_spec(provider, self.model),
            parameters=self.parameters,
            accepts=self.accepts,
            builtin_tools=self.builtin_tools,
            client_tools=self.client_tools,
            servers=tuple(servers),
            allowed_tools=self.allowed_tools,
            denied_tools=self.denied_tools,
            approval_required=self.approval_required,
            limits=self.limits,
            compaction=self.compaction,
            compact_at=self.compact_at,
        )


_OF_ID = Prepared(lambda: AgentVersion.objects.filter(pk=Parameter("pk")).only("number", "spec").order_by())
_OF_NUMBER = Prepared(
    lambda: AgentVersion.objects.filter(agent=Parameter("agent"), number=Parameter("number")).only("id").order_by()
)


def current_id(agent: Any) -> uuid.UUID:
    """Return the id of the agent's present version; write it if some code wrote the agent without one."""
    return agent.current_version_id or record(agent).pk


def id_of(agent: Any, number: int) -> uuid.UUID | None:
    """Return the id of the agent's version of that number; None if there is none."""
    version = _OF_NUMBER.first(agent=agent.pk, number=number)
    return version.pk if version else None


@functools.lru_cache(maxsize=256)
def definition(version_id: uuid.UUID) -> Definition:
    """Return the spec of a version, which this process keeps.

    Raises:
        AgentVersion.DoesNotExist: there is none of that id.
    """
    version = _OF_ID.first(pk=version_id)
    if version is None:
        raise AgentVersion.DoesNotExist(f"There is no version {version_id}.")
    spec = LATER_COLUMNS | version.spec
    return Definition(
        number=version.number,
        system_prompt=spec["system_prompt"],
        variables=prompt_variables.names_in(spec["system_prompt"]),
        provider=_to_reference(spec["provider"]),
        model=spec["model"],
        parameters=Parameters(
            temperature=spec["temperature"],
            top_p=spec["top_p"],
            max_tokens=spec["max_tokens"],
            reasoning_effort=spec["reasoning_effort"],
            thinking_budget=spec["thinking_budget"],
        ),
        accepts=_accepts(spec.get("accepts")),
        fallbacks=tuple(
            Fallback(_to_reference(each["provider"]), each["model"], _accepts(each["accepts"]))
            for each in spec.get("fallback_models", [])
        ),
        builtin_tools=tuple(spec["builtin_tools"]),
        client_tools=tuple(spec.get("client_tools", ())),
        servers=tuple(Reference(**server) for server in spec["mcp_servers"]),
        allowed_tools=tuple(spec["allowed_tools"]),
        denied_tools=tuple(spec["denied_tools"]),
        approval_required=tuple(spec["approval_required"]),
        limits=Limits(
            max_iterations=spec["max_iterations"],
            timeout=spec["timeout"],
            approval_timeout=spec["approval_timeout"],
            max_total_tokens=spec["max_total_tokens"],
        ),
        compaction=spec["compaction"],
        compact_at=spec["compact_at"],
    )


def _to_reference(value: dict[str, Any] | None) -> Reference | None:
    return Reference(**value) if value else None


def _accepts(kinds: list[str] | None) -> tuple[str, ...] | None:
    return None if kinds is None else tuple(kinds)

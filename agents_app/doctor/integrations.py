"""What agents need from outside: models and MCP servers. Each is really asked."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import async_to_sync

from agents_app.doctor.findings import Finding, broken, ok, one_line, plural, warning
from agents_app.integrations import mcp_servers as servers
from agents_app.integrations import providers
from agents_app.models import Agent, McpServer, Provider

_AT_ONCE = 8
_PATIENCE = 20.0  # seconds for an MCP server


def models() -> Iterator[Finding]:
    """Each provider is asked for its models, with its key."""
    rows = list(Provider.objects.order_by("name"))
    if not rows:
        yield broken("models", "There is no provider.", "Add one in the admin, or with `manage.py load_config`.")
        return
    needed = _needed_providers()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        checks = list(pool.map(providers.check, rows))
    for provider, check in zip(rows, checks, strict=True):
        name = f"model {provider.name}"
        if not check.ok:
            grave = broken if provider.pk in needed else warning
            yield grave(name, one_line(check.message), _provider_remedy(provider))
        elif (missing := _missing(provider, check.models)) is not None:
            text = f"{check.message[:-1]}, but {missing!r} is not among them."
            yield warning(name, text, "Mend the model of its agents.")
        else:
            yield ok(name, one_line(f"{check.message[:-1]}, in {check.duration_ms} ms."))


def _needed_providers() -> set[int]:
    """Those that enabled agents would ask."""
    chosen = set(Agent.objects.enabled().values_list("provider", flat=True))
    default = Provider.objects.default()
    return {pk for pk in chosen if pk} | ({default.pk} if default and None in chosen else set())


def _missing(provider: Provider, listed: list[str]) -> str | None:
    """A model that an agent names and the provider does not list."""
    named = Agent.objects.enabled().filter(provider=provider).exclude(model="").values_list("model", flat=True)
    wanted = [*filter(None, [provider.default_model]), *named] if provider.kind != Provider.Kind.LOCAL else []
    known = {name.removeprefix("models/") for name in listed}
    return next((model for model in wanted if known and model not in known and f"{model}:latest" not in known), None)


def _provider_remedy(provider: Provider) -> str:
    if provider.kind == Provider.Kind.LOCAL:
        return "Set LOCAL_MODEL_PATH to a GGUF file."
    key = f"its key in {provider.api_key_env}" if provider.api_key_env else "its key"
    return f"Mend its address or {key}, in the admin or the environment."


def mcp_servers() -> Iterator[Finding]:
    """Each enabled MCP server is connected to, and asked for its tools."""
    rows = list(McpServer.objects.enabled().order_by("name"))
    if not rows:
        return
    used = set(Agent.objects.enabled().values_list("mcp_servers", flat=True))
    checks = async_to_sync(_checked)(rows)
    for server, check in zip(rows, checks, strict=True):
        name = f"mcp {server.name}"
        if check.ok:
            yield ok(name, f"It answers, with {plural(len(check.tools), 'tool')}, in {check.duration_ms} ms.")
        else:
            grave = broken if server.pk in used else warning
            remedy = "Mend its command or address; runs go on without its tools meanwhile."
            yield grave(name, one_line(check.message), remedy)


async def _checked(rows: list[McpServer]) -> list[servers.ServerReport]:
    """Nothing is kept of it, and the processes that were started for it are ended."""
    try:
        return await servers.check_specs([row.spec() for row in rows], _PATIENCE)
    finally:
        await servers.close()

"""Models and MCP servers that agents use. Each is really called."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import async_to_sync

from agents_app.doctor.findings import Finding, broken, ok, one_line, plural, warning
from agents_app.engine.sandbox import availability
from agents_app.integrations import mcp_servers as servers
from agents_app.integrations import providers
from agents_app.models import Agent, Budget, McpServer, Provider
from agents_app.models.sandboxes import Sandbox
from agents_app.runs import budgets as run_budgets

_AT_ONCE = 8
_TIMEOUT = 20.0  # seconds for an MCP server


def models() -> Iterator[Finding]:
    """Request the list of models from each provider, with its key."""
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
            finding = broken if provider.pk in needed else warning
            yield finding(name, one_line(check.message), _provider_remedy(provider))
        elif (missing := _missing(provider, check.models)) is not None:
            text = f"{check.message[:-1]}, but {missing!r} is not among them."
            yield warning(name, text, "Fix the model of its agents.")
        else:
            yield ok(name, one_line(f"{check.message[:-1]}, in {check.duration_ms} ms."))


def _needed_providers() -> set[int]:
    """Return the providers of enabled agents."""
    chosen = set(Agent.objects.enabled().values_list("provider", flat=True))
    default = Provider.objects.default()
    return {pk for pk in chosen if pk} | ({default.pk} if default and None in chosen else set())


def _missing(provider: Provider, listed: list[str]) -> str | None:
    """Return a model that an agent uses and the provider does not list; None if there is none."""
    named = Agent.objects.enabled().filter(provider=provider).exclude(model="").values_list("model", flat=True)
    used = [*filter(None, [provider.default_model]), *named] if provider.kind != Provider.Kind.LOCAL else []
    available = {name.removeprefix("models/") for name in listed}
    return next(
        (model for model in used if available and model not in available and f"{model}:latest" not in available), None
    )


def _provider_remedy(provider: Provider) -> str:
    if provider.kind == Provider.Kind.LOCAL:
        return "Set LOCAL_MODEL_PATH to a GGUF file."
    key = f"its key in {provider.api_key_env}" if provider.api_key_env else "its key"
    return f"Fix its address or {key}, in the admin or the environment."


def budgets() -> Iterator[Finding]:
    """Look for agents whose runs cost nothing in budgets of money, because nobody knows the price of their model."""
    if not Budget.objects.filter(enabled=True, amount__isnull=False, unknown_price=None).exists():
        return
    if unpriced := run_budgets.agents_without_price():
        text = f"Budgets in money do not count {plural(len(unpriced), 'agent')} whose model has no known price: "
        remedy = "Enter the price in the admin, or set `unknown_price` of the budgets."
        yield warning("budgets", one_line(text + ", ".join(unpriced)) + ".", remedy)
    else:
        yield ok("budgets", "The price of each enabled agent's model is known.")


def mcp_servers() -> Iterator[Finding]:
    """Connect to each enabled MCP server and list its tools."""
    rows = list(McpServer.objects.enabled().order_by("name"))
    if not rows:
        return
    used = set(Agent.objects.enabled().values_list("mcp_servers", flat=True))
    checks = async_to_sync(_check)(rows)
    for server, check in zip(rows, checks, strict=True):
        name = f"mcp {server.name}"
        if check.ok and check.changed:
            text = f"It answers, but {plural(len(check.changed), 'tool')} changed since the last check: "
            remedy = "Read them in the admin, and check the server there."
            yield warning(name, one_line(text + ", ".join(check.changed)), remedy)
        elif check.ok:
            yield ok(name, f"It answers, with {plural(len(check.tools), 'tool')}, in {check.duration_ms} ms.")
        else:
            finding = broken if server.pk in used else warning
            remedy = "Fix its command or address; until then runs continue without its tools."
            yield finding(name, one_line(check.message), remedy)


def sandboxes() -> Iterator[Finding]:
    """Make a sandbox, if a server needs one, and name the commands that have none."""
    commands = list(McpServer.objects.enabled().filter(transport=McpServer.Transport.STDIO).order_by("name"))
    contained = [row.name for row in commands if row.sandbox != Sandbox.NONE]
    open_ones = [row.name for row in commands if row.sandbox == Sandbox.NONE]
    if contained:
        if problem := async_to_sync(availability.problem)():
            text = f"{problem[0].upper()}{problem[1:]}. It is needed by: {', '.join(contained)}."
            yield broken("sandbox", one_line(text), "See docs/security.md, Sandbox.")
        else:
            yield ok("sandbox", f"bubblewrap makes sandboxes, for {plural(len(contained), 'MCP server')}.")
    if open_ones:
        text = f"Commands without a sandbox read and reach all that the server's user may: {', '.join(open_ones)}."
        yield warning("sandbox", one_line(text), "Set their sandbox to 'network', and check them.")


async def _check(rows: list[McpServer]) -> list[servers.ServerReport]:
    """Check the servers, and end the processes that this started."""
    try:
        return await servers.check_specs([row.spec() for row in rows], _TIMEOUT)
    finally:
        await servers.close()

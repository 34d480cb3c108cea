"""The three files of the original system (`llm`, `agents`, `mcp_servers`), in our words.

    llm:
      providers: {openai: {api_key: "${OPENAI_API_KEY}", base_url: ...}}
      models: {fast: {provider: openai, model: gpt-5-mini}}
      default_model: fast
      generation: {temperature: 0.7, max_tokens: 2000}
    agents: {helper: {role: ..., system_prompt: ..., model: fast, mcp_servers: [files]}}
    mcp_servers: {files: {command: npx, args: [...]}}

An agent's `model` may be a name of `llm.models`, which then says the provider and the model. What `generation` says
holds for every agent that does not say it itself.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents_app.configuration.reading import Located

_KINDS = {"openai": "openai", "anthropic": "anthropic", "local": "local", "ollama": "openai"}
_BASE_URLS = {"openai": "https://api.openai.com/v1", "ollama": "http://127.0.0.1:11434/v1"}
_PARAMETERS = ("temperature", "top_p", "max_tokens", "reasoning_effort", "thinking_budget")
_TRANSPORTS = {"http": "streamable_http", "streamable-http": "streamable_http"}


def translated(documents: Iterable[tuple[str, "Located"]]) -> list[tuple[str, "Located"]]:
    """The documents with `llm` taken out of them and put into providers and agents."""
    documents = list(documents)
    llms = [(file, document.pop("llm")) for file, document in documents if isinstance(document.get("llm"), dict)]
    for _, document in documents:
        _name_transports(document)
    if not llms:
        return documents
    models: dict[str, Any] = {}
    generation: dict[str, Any] = {}
    default = None
    extra: list[tuple[str, Located]] = []
    for file, llm in llms:
        models |= llm.get("models") or {}
        generation |= llm.get("generation") or {}
        default = llm.get("default_model", default)
        if isinstance(llm.get("providers"), dict):
            made = type(llm)()
            made.line, made.lines = llm.line, {"providers": llm.lines["providers"]}
            made["providers"] = llm["providers"]
            extra.append((file, made))
    for _, document in extra:
        for name, provider in document["providers"].items():
            _complete_provider(name, provider, models, default)
    for _, document in documents:
        for agent in _agents(document):
            _complete_agent(agent, models, default, generation)
    return [*extra, *documents]


def _name_transports(document: "Located") -> None:
    servers = document.get("mcp_servers")
    for server in servers.values() if isinstance(servers, dict) else servers if isinstance(servers, list) else ():
        if isinstance(server, dict):
            said = server.get("transport", server.pop("type", None))
            guessed = "stdio" if "command" in server else "streamable_http"
            server["transport"] = _TRANSPORTS.get(said, said) if said else guessed


def _complete_provider(name: str, provider: Any, models: dict[str, Any], default: str | None) -> None:
    if not isinstance(provider, dict):
        return
    kind = str(provider.pop("type", provider.get("kind", name)))
    provider["kind"] = _KINDS.get(kind, "openai")
    if provider["kind"] != "local":
        provider.setdefault("base_url", _BASE_URLS.get(kind, "") or _BASE_URLS.get(name, ""))
        if not provider["base_url"]:
            del provider["base_url"]
    chosen = models.get(default) if default else None
    if isinstance(chosen, dict) and chosen.get("provider") == name:
        provider.setdefault("default_model", chosen.get("model", default))
        provider.setdefault("is_default", True)


def _agents(document: "Located") -> Iterable[dict[str, Any]]:
    agents = document.get("agents")
    found = agents.values() if isinstance(agents, dict) else agents if isinstance(agents, list) else ()
    return [agent for agent in found if isinstance(agent, dict)]


def _complete_agent(
    agent: dict[str, Any], models: dict[str, Any], default: str | None, generation: dict[str, Any]
) -> None:
    for old, new in (("prompt", "system_prompt"), ("instructions", "system_prompt"), ("llm", "model")):
        if old in agent and new not in agent:
            agent[new] = agent.pop(old)
    said = agent.get("model", default)
    chosen = models.get(said) if isinstance(said, str) else None
    own: dict[str, Any] = {}
    if isinstance(chosen, dict):
        agent["provider"] = agent.get("provider") or chosen.get("provider")
        agent["model"] = chosen.get("model", said)
        own = {name: chosen[name] for name in _PARAMETERS if name in chosen}
    inline = {name: agent.pop(name) for name in _PARAMETERS if name in agent}
    common = {name: generation[name] for name in _PARAMETERS if name in generation}
    if parameters := common | own | inline | dict(agent.get("parameters") or {}):
        agent["parameters"] = parameters

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

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agents_app.configuration.located import Located, Problem
from agents_app.models.env_variables import UndefinedVariable, expand

logger = logging.getLogger(__name__)

_LLM = ("providers", "models", "default_model", "generation")
_KINDS = {"openai": "openai", "anthropic": "anthropic", "local": "local", "ollama": "openai"}
_BASE_URLS = {"openai": "https://api.openai.com/v1", "ollama": "http://127.0.0.1:11434/v1"}
_CHOSEN = ("provider", "model")
_PARAMETERS = ("temperature", "top_p", "max_tokens", "reasoning_effort", "thinking_budget")
_TRANSPORTS = {"http": "streamable_http", "streamable-http": "streamable_http"}


@dataclass(slots=True)
class _Llm:
    """What the `llm` of all the files says together."""

    models: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    default: str | None = None


def translated(documents: Iterable[tuple[str, Located]], problems: list[Problem]) -> list[tuple[str, Located]]:
    """The documents with `llm` taken out of them and put into providers and agents."""
    documents = list(documents)
    llms = [(file, document.pop("llm")) for file, document in documents if isinstance(document.get("llm"), Located)]
    for _, document in documents:
        _name_transports(document)
    sound = [_check(file, llm, problems) and _fill(file, llm, problems) for file, llm in llms]
    if not all(sound):
        return documents
    providers = [(file, _only_providers(llm)) for file, llm in llms if llm.get("providers")]
    told = _merged(llms, [name for _, document in providers for name in document["providers"]], problems)
    for _, document in providers:
        for name, provider in document["providers"].items():
            _complete_provider(name, provider, told.models, told.default)
    if llms:
        for _, document in documents:
            for agent in _agents(document):
                _complete_agent(agent, told.models, told.default, told.generation)
    return [*providers, *documents]


def _only_providers(llm: Located) -> Located:
    made = Located()
    made.line, made.lines = llm.line, {"providers": llm.lines["providers"]}
    made["providers"] = llm["providers"]
    return made


def _merged(llms: list[tuple[str, Located]], providers: list[str], problems: list[Problem]) -> _Llm:
    told = _Llm()
    place = None
    for file, llm in llms:
        told.models |= llm.get("models") or {}
        told.generation |= llm.get("generation") or {}
        if llm.get("default_model"):
            told.default, place = llm["default_model"], (file, llm.lines["default_model"])
    if place and told.default not in told.models:
        if told.models or len(providers) != 1:
            problems.append(Problem(*place, f"There is no {told.default!r} in llm.models."))
        else:
            told.models[str(told.default)] = {"provider": providers[0], "model": told.default}
    return told


def _fill(file: str, llm: Located, problems: list[Problem]) -> bool:
    """Fill in the variables of what others refer to by name; providers have theirs filled in as all else has."""
    before = len(problems)
    generation: Located = llm.get("generation") or Located()
    rows: list[tuple[Located, str]] = [(llm, "default_model"), *((generation, key) for key in generation)]
    rows += [(chosen, key) for chosen in (llm.get("models") or {}).values() for key in chosen]
    for mapping, key in rows:
        try:
            if isinstance(mapping.get(key), str):
                mapping[key] = expand(mapping[key])
        except UndefinedVariable as error:
            problems.append(Problem(file, mapping.lines[key], str(error)))
    return len(problems) == before


def _check(file: str, llm: Located, problems: list[Problem]) -> bool:
    """Whether `llm` has the shape that it should have. What is not used here is said, and does no harm."""
    before = len(problems)

    def wrong(line: int, text: str) -> None:
        problems.append(Problem(file, line, text))

    for key in llm:
        if key not in _LLM:
            wrong(llm.lines[key], f"'llm.{key}' is not known here; there are: {', '.join(_LLM)}.")
    for key in ("providers", "models", "generation"):
        if llm.get(key) is not None and not isinstance(llm[key], Located):
            wrong(llm.lines[key], f"'llm.{key}' is a mapping.")
    if not isinstance(llm.get("default_model", ""), str | None):
        wrong(llm.lines["default_model"], "'llm.default_model' is the name of a model.")
    if len(problems) > before:
        return False
    for name, chosen in (llm.get("models") or {}).items():
        line = llm["models"].lines[name]
        if not isinstance(chosen, Located) or not all(isinstance(chosen.get(key, ""), str) for key in _CHOSEN):
            wrong(line, f"'llm.models.{name}' is a mapping with provider and model.")
        else:
            _note_unused(file, f"llm.models.{name}", chosen, (*_CHOSEN, *_PARAMETERS))
    _note_unused(file, "llm.generation", llm.get("generation") or Located(), _PARAMETERS)
    for name, provider in (llm.get("providers") or {}).items():
        if provider is None:
            llm["providers"][name] = empty = Located()
            empty.line, empty.lines = llm["providers"].lines[name], {}
    return len(problems) == before


def _note_unused(file: str, path: str, mapping: Located, known: tuple[str, ...]) -> None:
    for key in mapping:
        if key not in known:
            logger.warning("%s", Problem(file, mapping.lines[key], f"'{path}.{key}' is not used here."))


def _name_transports(document: Located) -> None:
    servers = document.get("mcp_servers")
    for server in servers.values() if isinstance(servers, dict) else servers if isinstance(servers, list) else ():
        if isinstance(server, dict):
            said = server.get("transport", server.pop("type", None))
            guessed = "stdio" if "command" in server else "streamable_http"
            server["transport"] = _TRANSPORTS.get(str(said), said) if said else guessed


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


def _agents(document: Located) -> Iterable[dict[str, Any]]:
    agents = document.get("agents")
    found = agents.values() if isinstance(agents, dict) else agents if isinstance(agents, list) else ()
    return [agent for agent in found if isinstance(agent, dict)]


def _filled(text: Any) -> Any:
    """With its variables filled in; one that is not set is refused later, where all are."""
    try:
        return expand(text) if isinstance(text, str) else text
    except UndefinedVariable:
        return text


def _complete_agent(
    agent: dict[str, Any], models: dict[str, Any], default: str | None, generation: dict[str, Any]
) -> None:
    for old, new in (("prompt", "system_prompt"), ("instructions", "system_prompt"), ("llm", "model")):
        if old in agent and new not in agent:
            agent[new] = agent.pop(old)
    said = _filled(agent.get("model", default))
    chosen = models.get(said) if isinstance(said, str) else None
    own: dict[str, Any] = {}
    if isinstance(chosen, dict):
        agent["provider"] = agent.get("provider") or chosen.get("provider")
        agent["model"] = chosen.get("model", said)
        own = {name: chosen[name] for name in _PARAMETERS if name in chosen}
    if not isinstance(agent.get("parameters") or {}, dict):
        return  # it is refused as it is
    inline = {name: agent.pop(name) for name in _PARAMETERS if name in agent}
    common = {name: generation[name] for name in _PARAMETERS if name in generation}
    if parameters := common | own | inline | dict(agent.get("parameters") or {}):
        agent["parameters"] = parameters

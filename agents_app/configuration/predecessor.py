"""The files of the predecessor, written again as ours.

| theirs | ours |
|---|---|
| `llm.providers`, a mapping by name | `providers`; `sdk` chooses the `kind` |
| `llm.models`, a list | an agent's `provider`, `model` and `max_tokens`; one with a key or an address is a provider |
| `llm.default_model` | the default provider and its `default_model` |
| `llm.generation` | `temperature` and `top_p` of every agent |
| `agents`, a list | `agents`; `llm_model` is looked up in `llm.models` |
| `mcp_servers`, a list | `mcp_servers`; `sse: {url, headers}` becomes `url` and `headers` |
| `storage`, `app` | environment variables |

What has no counterpart is named in a note with its file and line, and left out.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents_app.configuration.located import ConfigurationError, Located, Problem
from agents_app.configuration.yaml_files import documents_of, named_entries, to_yaml

COMMAND = "manage.py convert_config OLD.yaml… > new.yaml"
_SECTIONS = ("llm", "agents", "mcp_servers", "storage", "app")
_LLM = ("providers", "models", "default_model", "generation")
_SAMPLING = ("temperature", "top_p")
_ONLY_THEIRS = {
    "agents": {"llm_model", "sdk", "computer_use_enabled", "extended_thinking_enabled"},
    "mcp_servers": {"sse", "health_check", "function_call_wrapper"},
}
_ANTHROPIC = ("anthropic", "claude")
_BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "qwen": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "ollama": "http://127.0.0.1:11434/v1",
}
_SUPPORTS = "is not needed: what a model supports is not configured here"
_WITHOUT_COUNTERPART = {
    "providers": {
        "description": "has no counterpart: providers have a name only",
        "supports_mcp": _SUPPORTS,
        "supports_computer_use": _SUPPORTS,
    },
    "models": {
        "description": "has no counterpart: models are not rows of their own",
        "supports_streaming": _SUPPORTS,
        "supports_function_calling": _SUPPORTS,
        "supports_mcp": _SUPPORTS,
    },
    "generation": {
        "max_retries": "has no counterpart: requests to a model are retried as its error asks for",
        "timeout": "has no counterpart: `timeout` of an agent limits a whole run",
    },
    "agents": {"computer_use_enabled": "has no counterpart: give the agent an MCP server that controls a computer"},
    "mcp_servers": {
        "health_check": "is not needed: servers are checked at each use, in the admin and by `manage.py doctor`",
        "function_call_wrapper": "is not needed: models call the tools of MCP servers by their own means",
    },
}
_VARIABLES = {
    "storage": "DATABASE_URL (SQLite or PostgreSQL), VAR_DIR, and EVENT_RETENTION_DAYS, RUN_RETENTION_DAYS and "
    "HISTORY_RETENTION_DAYS for how long data is kept",
    "app": "HOST, PORT, DEBUG, SECRET_KEY, ALLOWED_HOSTS, CORS_ALLOWED_ORIGINS, AUTH_REQUIRED, LOG_LEVEL, LOG_FORMAT",
}


def first_sign(document: Located) -> tuple[str, int] | None:
    """Return a word of the document that only the predecessor has, and its line; None if it has no such word."""
    for section in ("llm", "storage", "app"):
        if section in document:
            return section, document.lines[section]
    for section, words in _ONLY_THEIRS.items():
        for _, entry, _ in named_entries(document.get(section), 0):
            if isinstance(entry, Located) and (own_words := words & entry.keys()):
                word = min(own_words, key=lambda each: entry.lines[each])
                return f"{section}.{word}", entry.lines[word]
    return None


@dataclass(frozen=True, slots=True)
class Conversion:
    """Our YAML, and what a person should know of it."""

    text: str
    notes: list[Problem]


def convert(files: Iterable[Path]) -> Conversion:
    """Return the files in our words.

    Raises:
        ConfigurationError: a file cannot be read, is not YAML, or has another shape than the predecessor's.
    """
    converter = _Converter()
    parts = [_Part(str(file), document) for file in files for document in documents_of(file)]
    for step in (converter.read_providers, converter.read_models, converter.convert):
        for part in parts:
            step(part)
    if converter.problems:
        raise ConfigurationError(dict.fromkeys(converter.problems))  # `llm` is read twice
    converter.choose_default()
    head = "".join(f"# {' '.join(str(note).split())}\n" for note in converter.notes)
    return Conversion(head + to_yaml(converter.result), converter.notes)


@dataclass(frozen=True, slots=True)
class _Part:
    """A mapping of a file. `path` is what leads to it, as in `llm.providers.lab`, and `key` is the last of that."""

    file: str
    content: Located
    path: str = ""
    key: str = ""

    def at(self, word: str, text: str) -> Problem:
        return Problem(self.file, self.content.lines.get(word, self.content.line), f"'{self.name(word)}' {text}.")

    def name(self, word: str) -> str:
        return f"{self.path}.{word}" if self.path else word

    def get(self, word: str) -> Any:
        return self.content.get(word)


@dataclass(frozen=True, slots=True)
class _Model:
    """An entry of `llm.models`."""

    name: str
    provider: str
    max_tokens: int | None = None


@dataclass(slots=True)
class _Converter:
    """The result as it grows. Providers and then models are read first: others refer to them, from any file."""

    result: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"providers": {}, "mcp_servers": {}, "agents": {}}
    )
    notes: list[Problem] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    models: dict[str, _Model] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    default_model: tuple[str, Problem] | None = None

    # llm

    def read_providers(self, document: _Part) -> None:
        """Read `llm.providers` of one document."""
        if llm := self._mapping(document, "llm"):
            self._note_unknown(llm, _LLM)
            for provider in self._entries(llm, "providers"):
                self._add_provider(provider)

    def read_models(self, document: _Part) -> None:
        """Read `llm.models` of one document, and what holds for every agent."""
        llm = self._mapping(document, "llm")
        if llm is None:
            return
        for model in self._entries(llm, "models"):
            self._add_model(model)
        if (name := llm.get("default_model")) is not None:
            self.default_model = str(name), llm.at("default_model", f"names {name!r}, which is not in llm.models")
        if generation := self._mapping(llm, "generation"):
            self._note_unknown(generation, _SAMPLING, _WITHOUT_COUNTERPART["generation"])
            self.generation |= _without_empty({word: generation.get(word) for word in _SAMPLING})

    def _add_provider(self, provider: _Part) -> None:
        self._note_unknown(provider, ("name", "sdk", "api_key", "base_url"), _WITHOUT_COUNTERPART["providers"])
        sdk = str(provider.get("sdk") or provider.key)
        self._put("providers", provider, _name_of(provider.key), self._provider(provider, sdk))

    def _provider(self, part: _Part, sdk: str) -> dict[str, Any]:
        kind = "anthropic" if sdk.lower() in _ANTHROPIC else "openai"
        base_url = part.get("base_url") or (_BASE_URLS.get(sdk.lower(), "") if kind == "openai" else "")
        if kind == "openai" and not base_url:
            self.notes.append(part.at("base_url", "is missing: write the address of this provider's API"))
        if (key := part.get("api_key")) and not str(key).startswith("${"):
            self.notes.append(part.at("api_key", "holds the key itself: better name a variable of the environment"))
        return _without_empty({"kind": kind, "base_url": base_url, "api_key": key})

    def _add_model(self, model: _Part) -> None:
        words = ("name", "provider", "max_tokens", "api_key", "base_url")
        self._note_unknown(model, words, _WITHOUT_COUNTERPART["models"])
        provider = _name_of(str(model.get("provider") or ""))
        if provider and provider not in self.result["providers"]:
            self.notes.append(model.at("provider", f"names {provider!r}, which is not in llm.providers"))
        if model.get("api_key") or model.get("base_url"):
            # A key or an address is of a provider here.
            common = self.result["providers"].get(provider, {})
            own = self._provider(model, "anthropic" if common.get("kind") == "anthropic" else provider)
            provider = f"{provider or 'model'}-{_name_of(model.key)}"
            self.result["providers"][provider] = {**common, **own}
        self.models[model.key] = _Model(model.key, provider, model.get("max_tokens"))

    def choose_default(self) -> None:
        """Mark the default provider, and give each provider the model that its agents fall back to."""
        providers = self.result["providers"]
        for model in self.models.values():
            if model.provider in providers:
                providers[model.provider].setdefault("default_model", model.name)
        if self.default_model is None:
            return
        name, unknown = self.default_model
        chosen = self.models.get(name) or (_Model(name, next(iter(providers))) if len(providers) == 1 else None)
        if chosen is None or chosen.provider not in providers:
            self.notes.append(unknown)
        else:
            providers[chosen.provider] |= {"default_model": name, "default": True}

    # The other sections

    def convert(self, document: _Part) -> None:
        """Convert all other sections of one document."""
        for section in document.content:
            if section not in _SECTIONS:
                self.notes.append(document.at(section, f"is unknown and left out; there are: {', '.join(_SECTIONS)}"))
        for section, variables in _VARIABLES.items():
            if section in document.content:
                words = document.get(section)
                inner = f"({', '.join(map(str, words))}) " if isinstance(words, Mapping) and words else ""
                self.notes.append(document.at(section, f"{inner}is set by environment variables now: {variables}"))
        for server in self._entries(document, "mcp_servers"):
            self._add_server(server)
        for agent in self._entries(document, "agents"):
            self._add_agent(agent)

    def _add_server(self, server: _Part) -> None:
        words = ("name", "description", "transport", "command", "args", "env", "sse", "timeout", "enabled")
        self._note_unknown(server, words, _WITHOUT_COUNTERPART["mcp_servers"])
        sse = self._mapping(server, "sse")
        if sse is not None:
            self._note_unknown(sse, ("url", "headers"))
        fields = {
            "description": server.get("description"),
            "transport": server.get("transport") or ("sse" if sse else "stdio"),
            **{word: server.get(word) for word in ("command", "args", "env")},
            **({word: sse.get(word) for word in ("url", "headers")} if sse else {}),
            "timeout": round(timeout) if isinstance(timeout := server.get("timeout"), float) else timeout,
            "enabled": server.get("enabled"),
        }
        self._put("mcp_servers", server, _server_name_of(server.key), _without_empty(fields))

    def _add_agent(self, agent: _Part) -> None:
        words = (
            "name", "role", "system_prompt", "llm_model", "description", "mcp_servers", "enabled", "sdk",
            "extended_thinking_enabled",
        )  # fmt: skip
        self._note_unknown(agent, words, _WITHOUT_COUNTERPART["agents"])
        model = self._model_of(agent)
        answering = model or (self.models.get(self.default_model[0]) if self.default_model else None)
        parameters = {
            **self.generation,
            "max_tokens": answering.max_tokens if answering else None,
            "reasoning_effort": "medium" if agent.get("extended_thinking_enabled") else None,
        }
        fields = {
            **{word: agent.get(word) for word in ("role", "description", "system_prompt")},
            "provider": model.provider if model else None,
            "model": model.name if model else None,
            "parameters": _without_empty(parameters),
            "mcp_servers": [_server_name_of(str(name)) for name in self._list(agent, "mcp_servers")],
            "enabled": agent.get("enabled"),
        }
        self._put("agents", agent, _name_of(agent.key), _without_empty(fields))

    def _model_of(self, agent: _Part) -> _Model | None:
        """Return the model of an agent; None for the default one."""
        name = agent.get("llm_model")
        model = self.models.get(str(name)) if name else None
        providers = self.result["providers"]
        if name and model is None:
            self.notes.append(agent.at("llm_model", f"names {name!r}, which is not in llm.models"))
            model = _Model(str(name), next(iter(providers)) if len(providers) == 1 else "")
        kind = providers.get(model.provider, {}).get("kind") if model else None
        sdk = str(agent.get("sdk") or "")
        if sdk and kind and (sdk in _ANTHROPIC) != (kind == "anthropic"):
            self.notes.append(agent.at("sdk", f"is {sdk!r}, and the provider of its model is of kind {kind!r}"))
        return model

    # Shapes

    def _mapping(self, part: _Part, word: str) -> _Part | None:
        content = part.get(word)
        if content is None or isinstance(content, Located):
            return None if content is None else _Part(part.file, content, part.name(word))
        self.problems.append(part.at(word, "must be a mapping"))
        return None

    def _entries(self, part: _Part, word: str) -> Iterator[_Part]:
        """Yield the entries of a mapping by name, or of a list of mappings with a `name`."""
        for name, entry, line in named_entries(part.get(word), part.content.lines.get(word, 0)):
            if name is None or not isinstance(entry, Located):
                text = f"Each of '{part.name(word)}' must be a mapping with a name."
                self.problems.append(Problem(part.file, line, text))
            else:
                yield _Part(part.file, entry, f"{part.name(word)}.{name}", name)

    def _list(self, part: _Part, word: str) -> list[Any]:
        content = part.get(word)
        if content is None or isinstance(content, list):
            return content or []
        self.problems.append(part.at(word, "must be a list"))
        return []

    def _put(self, section: str, part: _Part, name: str, fields: dict[str, Any]) -> None:
        if name != part.key:
            self.notes.append(Problem(part.file, part.content.line, f"'{part.path}' is called {name!r} now."))
        if name in self.result[section]:
            self.problems.append(Problem(part.file, part.content.line, f"There is another {name!r} in {section!r}."))
        self.result[section][name] = fields

    def _note_unknown(self, part: _Part, words: Collection[str], without: Mapping[str, str] | None = None) -> None:
        for word, value in part.content.items():
            if without and word in without:
                if value not in (None, False):
                    self.notes.append(part.at(word, without[word]))
            elif word not in words:
                self.notes.append(part.at(word, "is unknown and left out"))


def _without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def _name_of(name: str) -> str:
    """Return the name with the characters that agents and providers may have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("_.-")[:64]


def _server_name_of(name: str) -> str:
    """Return the name with the characters that MCP servers may have: `__` ends it in the names of tools."""
    return re.sub(r"__+", "_", re.sub(r"[^A-Za-z0-9_-]+", "-", name))[:32].strip("_-")

"""How many tokens models take together with their answer, as their servers say of them.

There is no standard field: each server has its own in the list of its models, and Ollama in an address of its own.
"""

import asyncio
import contextlib
import logging
from typing import Any

import httpx2
import orjson

from agents_app.engine.providers import accepts

logger = logging.getLogger(__name__)

# OpenRouter, vLLM, Groq, LM Studio, llama.cpp (in `meta`), Mistral.
_FIELDS = ("context_length", "max_model_len", "context_window", "max_context_length", "n_ctx", "max_input_tokens")
_LEAST, _MOST = 512, 100_000_000  # tokens that are plausible
_LARGEST_LIST = 8 * 1024 * 1024  # bytes
_TIMEOUT = 10.0  # seconds
_MOST_KEPT = 10_000
_windows: dict[tuple[str, str], int] = {}


def window_of(base_url: str, model: str) -> int | None:
    """Return the window of a model, if its server has said it to this process."""
    return _windows.get((base_url, model))


async def learn(client: Any, base_url: str, model: str) -> None:
    """Ask the server of the SDK's `client` for the window of a model. It may not know, or not answer."""
    try:
        async with asyncio.timeout(_TIMEOUT):
            listed = await _json(client, "GET", "/models")
            entry = entry_of(listed, model)
            accepts.learn(base_url, model, entry)
            window = of_entry(entry)
            if window is None and _is_ollama(listed):
                root = base_url.rstrip("/").removesuffix("/v1")
                shown = await _json(client, "POST", f"{root}/api/show", {"model": model})
                accepts.learn(base_url, model, shown)
                window = of_ollama(shown)
    except Exception as error:  # whatever a server and the SDK can raise: nobody waits for the answer
        logger.debug("A server does not tell the window of %r: %r", model[:100], error)
        return
    if window is not None:
        if len(_windows) >= _MOST_KEPT:
            _windows.clear()
        _windows[base_url, model] = window


async def _json(client: Any, method: str, path: str, body: Any = None) -> Any:
    """Return what the server responds, of which no more is read than a list may have, nor anything unpacked.

    The SDK would read it to its end, and the body of an error too.
    """
    http: httpx2.AsyncClient = client._client
    headers = {name: value for name, value in client.default_headers.items() if isinstance(value, str)}
    url = str(client.base_url).rstrip("/") + path if path.startswith("/") else path
    headers["Accept-Encoding"] = "identity"
    async with http.stream(method, url, headers=headers, json=body) as response:
        if response.status_code != 200 or response.headers.get("content-encoding", "identity").lower() != "identity":
            raise ValueError(f"status {response.status_code}, or compressed")
        content = bytearray()
        async with contextlib.aclosing(response.aiter_raw()) as pieces:
            async for piece in pieces:
                content += piece
                if len(content) > _LARGEST_LIST:
                    raise ValueError("too large")
    return await asyncio.to_thread(orjson.loads, content)


def of_list(listed: Any, model: str) -> int | None:
    """Return the window of a model in a server's list; None if the list does not have it."""
    return of_entry(entry_of(listed, model))


def entry_of(listed: Any, model: str) -> dict[str, Any] | None:
    """Return what a server's list says of a model."""
    for entry in _entries(listed):
        if isinstance(entry, dict) and model in (entry.get("id"), entry.get("name"), entry.get("model")):
            return entry
    return None


def of_entry(entry: dict[str, Any] | None) -> int | None:
    """Return the window that an entry of a list names."""
    meta = entry.get("meta") if entry else None
    for holder in (entry or {}, meta if isinstance(meta, dict) else {}):
        for name in _FIELDS:
            if window := _plausible(holder.get(name)):
                return window
    return None


def _entries(listed: Any) -> list[Any]:
    entries = listed.get("data") or listed.get("models") if isinstance(listed, dict) else listed
    return entries if isinstance(entries, list) else []


def _is_ollama(listed: Any) -> bool:
    return any(isinstance(entry, dict) and entry.get("owned_by") == "library" for entry in _entries(listed))


def of_ollama(shown: Any) -> int | None:
    """Return the window in the response of `/api/show`: what the model is set to, else what it was made with."""
    if not isinstance(shown, dict):
        return None
    for line in str(shown.get("parameters", "")).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "num_ctx" and words[1].isdecimal():
            return _plausible(int(words[1]))
    info = shown.get("model_info")
    for name, value in info.items() if isinstance(info, dict) else ():
        if str(name).endswith(".context_length"):
            return _plausible(value)
    return None


def _plausible(value: Any) -> int | None:
    return value if type(value) is int and _LEAST <= value <= _MOST else None

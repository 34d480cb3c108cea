"""Open models by the kind of their provider."""

import asyncio
import importlib
import sys
from collections.abc import Iterable

from agents_app.engine.providers import anthropic_messages
from agents_app.engine.providers.base import Model, ModelRequest
from agents_app.engine.spec import Message, ModelSpec
from agents_app.exceptions import RunFailed

__all__ = ["Model", "ModelRequest", "close_models", "encode_history", "open_model", "prepare"]

_OPENAI = "agents_app.engine.providers.openai"
_ANTHROPIC = "agents_app.engine.providers.anthropic"
_loaded: set[str] = set()


async def open_model(spec: ModelSpec) -> Model:
    """Return the model that `spec` describes. Equal specs share connections.

    Raises:
        RunFailed: there is no provider, or this version does not support its kind.
    """
    if spec.kind == "openai":
        await _load(_OPENAI)
        from agents_app.engine.providers.openai import OpenAIModel

        return OpenAIModel.shared(spec)
    if spec.kind == "anthropic":
        await _load(_ANTHROPIC)
        from agents_app.engine.providers.anthropic import AnthropicModel

        return AnthropicModel.shared(spec)
    if spec.kind == "local":
        await _load(_OPENAI)
        from agents_app.engine.providers.local import open_local_model

        return await open_local_model(spec)
    if not spec.kind:
        raise RunFailed("No model provider is set up yet. Add one in the admin.", code="no_provider")
    raise RunFailed(f"This version does not support providers of kind {spec.kind!r}.", code="unsupported_provider")


async def _load(module: str) -> None:
    """Import a module with an SDK. That takes up to seconds: in a thread, so that others' tokens flow meanwhile."""
    if module not in _loaded:
        await asyncio.to_thread(importlib.import_module, module)
        _loaded.add(module)


async def close_models() -> None:
    """Close all shared connections."""
    if _OPENAI in sys.modules:
        from agents_app.engine.providers.openai import OpenAIModel

        await OpenAIModel.close_all()
    if _ANTHROPIC in sys.modules:
        from agents_app.engine.providers.anthropic import AnthropicModel

        await AnthropicModel.close_all()


def encode_history(spec: ModelSpec, history: Iterable[Message]) -> None:
    """Encode messages for a model, once each. Call it in a thread: the event loop has only to join them then."""
    if spec.kind == "openai" and _OPENAI in sys.modules:
        from agents_app.engine.providers import openai

        openai.encode_messages(spec, history)
    elif spec.kind == "anthropic":
        anthropic_messages.encode_messages(history)


def prepare() -> None:
    """Import the SDK that most runs use: it takes half a second, which the first of them should not wait for."""
    from agents_app.engine.providers import openai

    openai.prepare()

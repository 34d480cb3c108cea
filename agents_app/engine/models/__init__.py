"""Models by provider kind."""

from agents_app.engine.models.base import Model, ModelRequest
from agents_app.engine.spec import ModelSpec
from agents_app.exceptions import RunFailed

__all__ = ["Model", "ModelRequest", "close_models", "open_model", "prepare"]


async def open_model(spec: ModelSpec) -> Model:
    """The model that `spec` describes; connections are shared by equal specs.

    Raises:
        RunFailed: no provider, or a kind that this version does not speak.
    """
    if spec.kind == "openai":
        from agents_app.engine.models.openai import OpenAIModel

        return OpenAIModel.shared(spec)
    if spec.kind == "local":
        from agents_app.engine.models.local import open_local_model

        return await open_local_model(spec)
    if not spec.kind:
        raise RunFailed("No model provider is set up yet. Add one in the admin.", code="no_provider")
    raise RunFailed(f"This version does not speak to providers of kind {spec.kind!r}.", code="unsupported_provider")


async def close_models() -> None:
    """Close every shared connection."""
    from agents_app.engine.models.openai import OpenAIModel

    await OpenAIModel.close_all()


def prepare() -> None:
    """Import the SDK now: it takes half a second, which the first run should not wait for."""
    from agents_app.engine.models import openai

    openai.prepare()

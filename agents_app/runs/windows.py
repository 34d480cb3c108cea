"""How many tokens a model takes: by the public table of models, else by its server, else by its provider's row."""

import logging
from functools import lru_cache

from agents_app.engine.providers import model_windows
from agents_app.models import Provider

logger = logging.getLogger(__name__)

DEFAULT = 8192  # tokens, of a model of which nothing is known


def context_tokens(provider: Provider | None, model: str) -> int:
    """Return the window of `model` at `provider`, in tokens."""
    if provider is None:
        return DEFAULT
    if provider.kind == Provider.Kind.LOCAL:
        return provider.context_tokens
    listed = _listed(provider.kind, provider.base_url, model)
    return listed or model_windows.window_of(provider.base_url, model) or provider.context_tokens


@lru_cache(maxsize=1024)
def _listed(kind: str, base_url: str, model: str) -> int | None:
    """Return what the public table says; None for models and servers that it lacks."""
    from genai_prices import Usage, calc_price  # large, and not needed by commands

    usage = Usage(input_tokens=1)
    try:
        if kind == Provider.Kind.ANTHROPIC and not base_url:
            listed = calc_price(usage, model, provider_id="anthropic")
        else:
            listed = calc_price(usage, model, provider_api_url=base_url)
        return listed.model.context_window or None
    except LookupError:
        return None
    except Exception:  # a gap in the table must not keep a run from starting
        logger.exception("Could not look up the window of %r", model[:100])
        return None

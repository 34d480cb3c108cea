"""What runs cost, in US dollars: by the prices that an administrator gave, else by a public table of list prices."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from agents_app.models import Price, Provider
from agents_app.models.runs import COST_PLACES

logger = logging.getLogger(__name__)

_MILLION = Decimal(1_000_000)
_SMALLEST = Decimal(1).scaleb(-COST_PLACES)
_MOST = Decimal(10**9)  # no more than the column holds, whatever a provider says it has counted
_STEP = 1000  # tokens: the size of a request, as far as its price depends on it


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars for a million tokens."""

    input: Decimal
    cached_input: Decimal
    output: Decimal

    def cost(self, usage: Mapping[str, int]) -> Decimal:
        """What that many tokens cost."""
        asked = usage.get("input_tokens", 0)
        cached = min(asked, usage.get("cached_tokens", 0))
        total = (asked - cached) * self.input + cached * self.cached_input + usage.get("output_tokens", 0) * self.output
        return min(total / _MILLION, _MOST).quantize(_SMALLEST)


FREE = Rates(Decimal(0), Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a provider takes for a model. `given`: the rates that an administrator gave, or that are known for sure."""

    kind: str
    base_url: str
    model: str
    given: Rates | None = None

    def cost(self, usage: Mapping[str, int]) -> Decimal | None:
        """What a run with that usage costs; None where nobody knows the price."""
        requests = usage.get("requests", 0)
        if not requests:  # no model was asked, or none that counts
            return Decimal(0)
        rates = self.given
        if rates is None:
            size = usage.get("input_tokens", 0) // requests // _STEP * _STEP or _STEP
            rates = _listed(self.kind, self.base_url, self.model, size)
        return None if rates is None else rates.cost(usage)


def tariff(provider: Provider | None, model: str) -> Tariff:
    """What `provider` takes for `model`, as of now."""
    if provider is None:
        return Tariff("", "", model)
    given = None
    if provider.kind == Provider.Kind.LOCAL:
        given = FREE
    if price := Price.objects.of(provider, model):
        cached = price.input if price.cached_input is None else price.cached_input
        given = Rates(price.input, cached, price.output)
    return Tariff(provider.kind, provider.base_url, model, given)


def prepare() -> None:
    """Read the public table, which takes a moment."""
    _listed(Provider.Kind.OPENAI, "https://api.openai.com/v1", "gpt-4o", _STEP)


@lru_cache(maxsize=1024)
def _listed(kind: str, base_url: str, model: str, size: int) -> Rates | None:
    """The list price of requests of `size` tokens; None for models and servers that are not in the table.

    A model is priced by who serves it: the same name on one's own server costs something else.
    """
    from genai_prices import Usage, calc_price  # large, and not needed by commands

    def rate(usage: Usage) -> tuple[Decimal, Decimal]:
        if kind == Provider.Kind.ANTHROPIC and not base_url:
            found = calc_price(usage, model, provider_id="anthropic")
        else:
            found = calc_price(usage, model, provider_api_url=base_url)
        return found.input_price / size * _MILLION, found.output_price / size * _MILLION

    try:
        plain, written = rate(Usage(input_tokens=size, output_tokens=size))
        cached, _ = rate(Usage(input_tokens=size, cache_read_tokens=size, output_tokens=0))
    except LookupError:
        return None
    except Exception:  # a run ends, whatever the table does not understand
        logger.exception("The price of %r cannot be found", model[:100])
        return None
    return Rates(plain, cached, written)

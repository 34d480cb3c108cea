"""Price runs in US dollars: by an administrator's prices, else by a public table of list prices."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from agents_app.engine.spec import ModelChoice, Usage
from agents_app.models import Price, Provider
from agents_app.models.runs import COST_PLACES

logger = logging.getLogger(__name__)

_MILLION = Decimal(1_000_000)
_SMALLEST = Decimal(1).scaleb(-COST_PLACES)
_MOST = Decimal(10**9)  # what the column holds, however many tokens a provider reports
_STEP = 1000  # tokens: prices depend on the size of a request in steps of this


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per million tokens."""

    input: Decimal
    cached_input: Decimal
    output: Decimal

    def cost(self, usage: Mapping[str, int]) -> Decimal:
        """Return the cost of a usage."""
        read = usage.get("input_tokens", 0)
        cached = min(read, usage.get("cached_tokens", 0))
        total = (read - cached) * self.input + cached * self.cached_input + usage.get("output_tokens", 0) * self.output
        return min(total / _MILLION, _MOST).quantize(_SMALLEST)


FREE = Rates(Decimal(0), Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Tariff:
    """The price of a model at a provider. `fixed`: rates that go before the public table."""

    kind: str
    base_url: str
    model: str
    fixed: Rates | None = None

    def cost(self, usage: Mapping[str, int]) -> Decimal | None:
        """Return the cost of a run with that usage; None if the price is unknown."""
        requests = usage.get("requests", 0)
        if not requests:  # no model was called, or none that counts
            return Decimal(0)
        rates = self.fixed
        if rates is None:
            size = usage.get("input_tokens", 0) // requests // _STEP * _STEP or _STEP
            rates = _listed(self.kind, self.base_url, self.model, size)
        return None if rates is None else rates.cost(usage)


@dataclass(frozen=True, slots=True)
class Tariffs:
    """The prices of an agent's models. `others`: of all but the first, by their `place`."""

    first: Tariff
    others: Mapping[tuple[str, str], Tariff] = field(default_factory=dict)

    def cost(self, usage: Usage) -> Decimal | None:
        """Return the cost of a run with that usage; None if a price is unknown."""
        if not self.others.keys() & usage.by_model.keys():
            return self.first.cost(usage.as_dict())
        # A model that failed had requests, but no tokens: its price does not matter.
        answered = {place: each for place, each in usage.by_model.items() if each.input_tokens or each.output_tokens}
        costs = [self.others.get(place, self.first).cost(each.as_dict()) for place, each in answered.items()]
        return None if None in costs else sum(filter(None, costs), Decimal(0))

    def most(self, usage: Mapping[str, int]) -> Decimal | None:
        """Return what that usage costs at the dearest of the models; None if no price is known."""
        costs = [each.cost(usage) for each in (self.first, *self.others.values())]
        return max((cost for cost in costs if cost is not None), default=None)


def tariffs(providers: Sequence[Provider | None], choices: Sequence[ModelChoice]) -> Tariffs:
    """Return the present prices of models, each at its provider."""
    first, *others = (tariff(each, choice.model.model) for each, choice in zip(providers, choices, strict=True))
    return Tariffs(first, {choice.model.place: each for choice, each in zip(choices[1:], others, strict=True)})


def tariff(provider: Provider | None, model: str) -> Tariff:
    """Return the present price of `model` at `provider`."""
    if provider is None:
        return Tariff("", "", model)
    fixed = None
    if provider.kind == Provider.Kind.LOCAL:
        fixed = FREE
    if price := Price.of(provider, model):
        cached = price.input if price.cached_input is None else price.cached_input
        fixed = Rates(price.input, cached, price.output)
    return Tariff(provider.kind, provider.base_url, model, fixed)


def prepare() -> None:
    """Load the public table, which takes a moment."""
    _listed(Provider.Kind.OPENAI, "https://api.openai.com/v1", "gpt-4o", _STEP)


@lru_cache(maxsize=1024)
def _listed(kind: str, base_url: str, model: str, size: int) -> Rates | None:
    """Return the list price of requests of `size` tokens; None for models and servers that the table lacks.

    The price depends on the server: the same model on one's own server costs something else.
    """
    from genai_prices import Usage, calc_price  # large, and not needed by commands

    def rate(usage: Usage) -> tuple[Decimal, Decimal]:
        if kind == Provider.Kind.ANTHROPIC and not base_url:
            price = calc_price(usage, model, provider_id="anthropic")
        else:
            price = calc_price(usage, model, provider_api_url=base_url)
        return price.input_price / size * _MILLION, price.output_price / size * _MILLION

    try:
        plain, written = rate(Usage(input_tokens=size, output_tokens=size))
        cached, _ = rate(Usage(input_tokens=size, cache_read_tokens=size, output_tokens=0))
    except LookupError:
        return None
    except Exception:  # a gap in the table must not keep a run from ending
        logger.exception("Could not look up the price of %r", model[:100])
        return None
    return Rates(plain, cached, written)

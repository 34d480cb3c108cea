"""Request arguments for thinking. What a Claude model accepts differs from model to model, and its server says what.

Models up to 4.5 think within a token budget; from 4.7 on they reject budgets, `temperature` and `top_p`, and decide
themselves, within an effort. Thinking counts towards `max_tokens`, so extra room is added there.
"""

from dataclasses import dataclass
from typing import Any

from agents_app.engine.spec import Parameters

EXTRA_HEADERS = "extra_headers"  # of the arguments: not part of the body
OLD_VERSION = "2023-06-01"  # of the API: every server knows it, and it is the last with temperature and top_p
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_BUDGETS = {"low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768}  # for models without efforts
_SMALLEST_BUDGET = 1_024
_ADAPTIVE_ROOM = 32_768
_ANSWER = 16_384  # tokens, if the agent has no setting: the API requires a number


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model accepts. `max_tokens`: the limit of one answer. The defaults are for servers that do not say."""

    thinking: frozenset[str] = frozenset({"enabled", "adaptive", "disabled"})
    efforts: frozenset[str] = frozenset(_EFFORTS)
    max_tokens: int = 128_000

    @property
    def takes_budgets(self) -> bool:
        return "enabled" in self.thinking


def abilities(description: Any) -> Abilities:
    """Parse the response of `GET /v1/models/{id}`. Only Anthropic's own servers describe abilities."""
    capabilities = _inside(description, "capabilities")
    if not capabilities:
        return Abilities()
    most = description.get("max_tokens")
    return Abilities(
        thinking=_supported(_inside(_inside(capabilities, "thinking"), "types")),
        efforts=_supported(_inside(capabilities, "effort")) & frozenset(_EFFORTS),
        max_tokens=most if isinstance(most, int) and most > 2 * _SMALLEST_BUDGET else Abilities().max_tokens,
    )


def _inside(value: Any, name: str) -> dict[str, Any]:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _supported(choices: dict[str, Any]) -> frozenset[str]:
    return frozenset(name for name, choice in choices.items() if _inside(choices, name) and choice.get("supported"))


def thinking_arguments(parameters: Parameters, able: Abilities) -> dict[str, Any]:
    """Return a request's thinking, effort, sampling and length, and headers that these need as `EXTRA_HEADERS`."""
    thinking = _thinking(parameters, able)
    arguments: dict[str, Any] = {"max_tokens": min(_most_tokens(parameters, thinking), able.max_tokens)}
    if thinking:
        arguments["thinking"] = thinking
    if effort := _effort(parameters, able, thinking):
        arguments["output_config"] = {"effort": effort}
    if sampling := _sampling(parameters, able, thinking):
        arguments |= sampling
        arguments[EXTRA_HEADERS] = {"anthropic-version": OLD_VERSION}
    return arguments


def without_thinking(arguments: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
    """Return the arguments for a turn that began without thoughts: models with a budget cannot start them later."""
    rest = {name: value for name, value in arguments.items() if name != "thinking"}
    return rest | {"max_tokens": min(parameters.max_tokens or _ANSWER, arguments["max_tokens"])}


def _is_disabled(parameters: Parameters) -> bool:
    return parameters.reasoning_effort == "none" or parameters.thinking_budget == 0


def _thinking(parameters: Parameters, able: Abilities) -> dict[str, Any] | None:
    if _is_disabled(parameters):
        least = (kind for kind in ("disabled", "between_tools") if kind in able.thinking)
        return {"type": kind} if (kind := next(least, None)) else _adaptive(able)
    is_requested = bool(parameters.thinking_budget or parameters.reasoning_effort)
    if parameters.thinking_budget and able.takes_budgets:
        return _budget(parameters.thinking_budget, able)
    if is_requested or not able.takes_budgets:
        return _adaptive(able) or (_budget(_BUDGETS[_level(parameters)], able) if able.takes_budgets else None)
    return None


def _adaptive(able: Abilities) -> dict[str, Any] | None:
    """Newer models do not show their thoughts unless the request says so."""
    return {"type": "adaptive", "display": "summarized"} if "adaptive" in able.thinking else None


def _budget(tokens: int, able: Abilities) -> dict[str, Any]:
    most = able.max_tokens - _SMALLEST_BUDGET  # leave room for the answer
    return {"type": "enabled", "budget_tokens": max(_SMALLEST_BUDGET, min(tokens, most))}


def _most_tokens(parameters: Parameters, thinking: dict[str, Any] | None) -> int:
    answer = parameters.max_tokens or _ANSWER
    if thinking is None:
        return answer
    room = _ADAPTIVE_ROOM if thinking["type"] == "adaptive" else 0
    return answer + thinking.get("budget_tokens", room)


def _level(parameters: Parameters) -> str:
    return "low" if parameters.reasoning_effort == "minimal" else parameters.reasoning_effort


def _effort(parameters: Parameters, able: Abilities, thinking: dict[str, Any] | None) -> str | None:
    """Return the requested level, or the next lower one that the model has."""
    if _is_disabled(parameters):
        level = "low" if thinking and thinking["type"] == "adaptive" else ""  # a model that cannot turn it off
    else:
        level = _level(parameters)
    below = _EFFORTS[: _EFFORTS.index(level) + 1] if level else ()
    return next((level for level in reversed(below) if level in able.efforts), None)


def _sampling(parameters: Parameters, able: Abilities, thinking: dict[str, Any] | None) -> dict[str, float]:
    """Return temperature or top_p: models reject both together, and either while they think."""
    thinks = thinking is not None and thinking["type"] != "disabled"
    if thinks or (able.thinking and not able.takes_budgets):
        return {}
    if parameters.temperature is not None:
        return {"temperature": min(parameters.temperature, 1.0)}
    return {} if parameters.top_p is None else {"top_p": parameters.top_p}

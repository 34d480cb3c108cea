"""How a Claude model is asked to think: what it takes differs from model to model, and its server says what.

Models up to 4.5 think within a budget that they are given; from 4.7 on they refuse budgets, `temperature` and `top_p`,
and decide by themselves, within an effort. Thinking counts towards `max_tokens`, so it gets room of its own there.
"""

from dataclasses import dataclass
from typing import Any

from agents_app.engine.spec import Parameters

OLD_VERSION = "2023-06-01"  # of the API: every server knows it, and it is the last that takes temperature and top_p
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_BUDGETS = {"low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768}  # where a model knows no effort
_SMALLEST_BUDGET = 1_024
_ADAPTIVE_ROOM = 32_768
_ANSWER = 16_384  # tokens, where the agent says nothing: the API insists on a number


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model takes; `max_tokens`: the most of one answer. As here, where its server does not say."""

    thinking: frozenset[str] = frozenset({"enabled", "adaptive", "disabled"})
    efforts: frozenset[str] = frozenset(_EFFORTS)
    max_tokens: int = 128_000

    @property
    def takes_budgets(self) -> bool:
        return "enabled" in self.thinking


def abilities(answer: Any) -> Abilities:
    """What `GET /v1/models/{id}` says of a model; other servers than Anthropic's own say nothing."""
    capabilities = _inside(answer, "capabilities")
    if not capabilities:
        return Abilities()
    most = answer.get("max_tokens")
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
    """What a request says of thinking, effort, sampling and length: arguments for the SDK."""
    thinking = _thinking(parameters, able)
    arguments: dict[str, Any] = {"max_tokens": min(_most_tokens(parameters, thinking), able.max_tokens)}
    if thinking:
        arguments["thinking"] = thinking
    if effort := _effort(parameters, able, thinking):
        arguments["output_config"] = {"effort": effort}
    if sampling := _sampling(parameters, able, thinking):
        arguments["extra_body"] = sampling  # the SDK has no names for these any more
        arguments["extra_headers"] = {"anthropic-version": OLD_VERSION}
    return arguments


def without_thinking(arguments: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
    """The same request for a turn that was begun without thoughts: a model with a budget refuses to begin them then."""
    rest = {name: value for name, value in arguments.items() if name != "thinking"}
    return rest | {"max_tokens": min(parameters.max_tokens or _ANSWER, arguments["max_tokens"])}


def _wants_none(parameters: Parameters) -> bool:
    return parameters.reasoning_effort == "none" or parameters.thinking_budget == 0


def _thinking(parameters: Parameters, able: Abilities) -> dict[str, Any] | None:
    if _wants_none(parameters):
        least = (kind for kind in ("disabled", "between_tools") if kind in able.thinking)
        return {"type": kind} if (kind := next(least, None)) else _adaptive(able)
    wanted = bool(parameters.thinking_budget or parameters.reasoning_effort)
    if parameters.thinking_budget and able.takes_budgets:
        return _budget(parameters.thinking_budget, able)
    if wanted or not able.takes_budgets:
        return _adaptive(able) or (_budget(_BUDGETS[_level(parameters)], able) if able.takes_budgets else None)
    return None


def _adaptive(able: Abilities) -> dict[str, Any] | None:
    """Newer models keep their thoughts to themselves unless they are asked to show them."""
    return {"type": "adaptive", "display": "summarized"} if "adaptive" in able.thinking else None


def _budget(tokens: int, able: Abilities) -> dict[str, Any]:
    most = able.max_tokens - _SMALLEST_BUDGET  # so that the answer has a place too
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
    """The level that is asked for, or the next lower one that the model knows."""
    if _wants_none(parameters):
        level = "low" if thinking and thinking["type"] == "adaptive" else ""  # one that cannot do without
    else:
        level = _level(parameters)
    below = _EFFORTS[: _EFFORTS.index(level) + 1] if level else ()
    return next((level for level in reversed(below) if level in able.efforts), None)


def _sampling(parameters: Parameters, able: Abilities, thinking: dict[str, Any] | None) -> dict[str, float]:
    """One of temperature and top_p: models refuse both at once, and either while they think."""
    thinks = thinking is not None and thinking["type"] != "disabled"
    if thinks or (able.thinking and not able.takes_budgets):
        return {}
    if parameters.temperature is not None:
        return {"temperature": min(parameters.temperature, 1.0)}
    return {} if parameters.top_p is None else {"top_p": parameters.top_p}

"""Tools that an agent may call: what the model is told of them, and how they are called."""

import ast
import datetime
import math
import zoneinfo
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import simpleeval


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the model sees it, and the function behind it.

    `read_only` and `idempotent` say whether a call may be made again after a crash.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    call: Callable[[dict[str, Any]], Awaitable[str]]
    read_only: bool = False
    idempotent: bool = False

    @property
    def may_run_again(self) -> bool:
        return self.read_only or self.idempotent


class ToolError(Exception):
    """A call that failed; the text is for the model, so that it can correct itself."""


@dataclass(frozen=True, slots=True)
class Toolset:
    """The tools of one run, by name."""

    tools: tuple[Tool, ...]

    def get(self, name: str) -> Tool:
        """The tool of that name.

        Raises:
            ToolError: there is none; the text lists those that there are.
        """
        for tool in self.tools:
            if tool.name == name:
                return tool
        known = ", ".join(tool.name for tool in self.tools) or "none"
        raise ToolError(f"There is no tool {name!r}. Available tools: {known}.")


async def _current_time(arguments: dict[str, Any]) -> str:
    name = arguments.get("timezone") or "UTC"
    try:
        zone = zoneinfo.ZoneInfo(str(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolError(f"{name!r} is not an IANA time zone; one is, for example, 'Europe/Berlin'.") from None
    now = datetime.datetime.now(zone)
    return now.strftime(f"%A %Y-%m-%dT%H:%M:%S%z ({name})")


def _power(base: float, exponent: float) -> float:
    """`base ** exponent`, refused where the digits alone would keep the process busy."""
    if abs(exponent) * max(1, abs(base)).__ceil__().bit_length() > 20_000:
        raise ToolError("The power is too large.")
    return base**exponent


_FUNCTIONS = {"abs": abs, "min": min, "max": max, "round": round, "int": int, "float": float, "sqrt": math.sqrt}
_NAMES = {"pi": math.pi, "e": math.e}
_OPERATORS = simpleeval.DEFAULT_OPERATORS | {ast.Pow: _power}


def _evaluate(expression: str) -> str:
    try:
        value = simpleeval.SimpleEval(operators=_OPERATORS, functions=_FUNCTIONS, names=_NAMES).eval(expression)
        return str(value)
    except Exception as error:  # simpleeval lets through whatever the arithmetic raises
        raise ToolError(f"Cannot calculate {expression[:200]!r}: {error}") from None


async def _calculate(arguments: dict[str, Any]) -> str:
    expression = arguments.get("expression")
    if not isinstance(expression, str) or not expression.strip():
        raise ToolError("Give 'expression', a text such as '(2 + 3) * 4'.")
    if len(expression) > 1000:
        raise ToolError("The expression is longer than 1,000 characters.")
    return _evaluate(expression.strip())


BUILTIN_TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            name="current_time",
            description="The current date and time.",
            parameters={
                "type": "object",
                "properties": {
                    "timezone": {"type": "string", "description": "IANA name, for example Europe/Berlin. Default: UTC."}
                },
            },
            call=_current_time,
            read_only=True,
        ),
        Tool(
            name="calculate",
            description="Evaluate an arithmetic expression, for example '(2 + 3) * 4 / 7 ** 2'.",
            parameters={
                "type": "object",
                "properties": {"expression": {"type": "string", "description": "Python-style arithmetic."}},
                "required": ["expression"],
            },
            call=_calculate,
            read_only=True,
        ),
    )
}


def builtin_toolset(names: tuple[str, ...]) -> Toolset:
    """The built-in tools of these names; a name that a later version dropped is left out."""
    return Toolset(tuple(BUILTIN_TOOLS[name] for name in names if name in BUILTIN_TOOLS))

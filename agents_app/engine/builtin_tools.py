"""The built-in tools that need only this process: the clock, arithmetic and questions to people."""

import ast
import datetime
import math
import operator
import zoneinfo
from typing import Any

import simpleeval

from agents_app.engine.questions import ASK_USER
from agents_app.engine.toolset import Call, Tool, ToolError


async def _current_time(arguments: dict[str, Any], _call: Call) -> str:
    name = arguments.get("timezone") or "UTC"
    try:
        zone = zoneinfo.ZoneInfo(str(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolError(f"{name!r} is not an IANA time zone; one is, for example, 'Europe/Berlin'.") from None
    now = datetime.datetime.now(zone)
    return now.strftime(f"%A %Y-%m-%dT%H:%M:%S%z ({name})")


_MAX_BITS = 10_000  # of an integer: no step of a calculation may block the process


def _power(base: float, exponent: float) -> float:
    if abs(exponent) * math.ceil(max(1, abs(base))).bit_length() > _MAX_BITS:
        raise ToolError("The power is too large.")
    return base**exponent


def _product(left: float, right: float) -> float:
    value = left * right
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise ToolError("The product is too large.")
    return value


def _round(number: float, digits: int = 0) -> float:
    if abs(digits) > 300:
        raise ToolError("'round' takes -300 to 300 digits.")
    return round(number, digits) if digits else round(number)


_FUNCTIONS = {
    "abs": abs,
    "min": min,
    "max": max,
    "round": _round,
    "int": int,
    "float": float,
    "sqrt": math.sqrt,
}
_NAMES = {"pi": math.pi, "e": math.e}
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _product,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_NODES = (ast.Expr, ast.Name, ast.UnaryOp, ast.BinOp, ast.Call, ast.Constant)


class _Arithmetic(simpleeval.SimpleEval):
    """Numbers only: strings have methods and formats that can fill the memory."""

    def __init__(self) -> None:
        super().__init__(operators=_OPERATORS, functions=_FUNCTIONS, names=_NAMES)
        all_nodes: dict[Any, Any] = vars(self)["nodes"]
        self.nodes = {node: all_nodes[node] for node in _NODES} | {ast.Constant: self._number}

    def _number(self, node: ast.Constant) -> Any:
        if type(node.value) not in (int, float):
            raise ToolError("Only numbers are supported.")
        return node.value


def _evaluate(expression: str) -> str:
    try:
        value = _Arithmetic().eval(expression, ast.parse(expression, mode="eval").body)
        if not isinstance(value, int | float | complex):
            raise ToolError("The result is not a number.")
        return str(value)
    except Exception as error:  # simpleeval does not catch what the arithmetic raises
        raise ToolError(f"Cannot calculate {expression[:200]!r}: {error}") from None


async def _calculate(arguments: dict[str, Any], _call: Call) -> str:
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
                    "timezone": {
                        "type": "string",
                        "description": "IANA name, for example Europe/Berlin. Default: UTC.",
                    }
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
        ASK_USER,
    )
}

# Built in as well, but they need the database or the settings: `agents_app.tools.toolset` makes them for one run.
_TASK_TOOLS = frozenset(
    {
        "create_task", "list_tasks", "update_task", "enable_task", "disable_task", "delete_task",
        "run_task", "get_run", "cancel_run",
    }
)  # fmt: skip
PLATFORM_TOOLS = (
    frozenset({"ask_agent", "fetch_url", "give_file", "read_file", "read_result", "run_code"}) | _TASK_TOOLS
)


def builtin_tools(names: tuple[str, ...]) -> tuple[Tool, ...]:
    """Return the built-in tools of these names, without names that this version does not have."""
    return tuple(BUILTIN_TOOLS[name] for name in names if name in BUILTIN_TOOLS)

"""Tools that the client executes, as OpenAI's APIs define them: `tools`, `tool_choice`, `parallel_tool_calls`."""

import re
from dataclasses import dataclass, field
from typing import Any

from agents_app.exceptions import InvalidRequest
from agents_app.runs import client_tools
from chat_app.openai_api.requests import AgentRequest
from chat_app.openai_api.validation import INVALID, MISSING, WRONG_TYPE, refuse

_UNSUPPORTED = "unsupported_value"
_CHOICES = ("none", "auto", "required")


@dataclass(frozen=True, slots=True)
class ClientTools:
    """The tools of a request. `definitions` is None if it says nothing about tools; `parameters`: of the model."""

    definitions: tuple[dict[str, Any], ...] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


def of_request(body: AgentRequest, *, nested: bool) -> ClientTools:
    """Return the tools. `nested`: as chat completions write them, with an object `function`.

    `tool_choice` is about the next turn of the model. If it is `none`, the model does not get the client's tools; those
    of the agent it has.

    Raises:
        InvalidRequest: it names the field that is wrong, or not supported.
    """
    if body.functions and body.function_call != "none":
        refuse("functions", "is not supported: use 'tools'.", _UNSUPPORTED)
    if body.tool_choice == "none":
        return ClientTools(())
    definitions = None if body.tools is None else tuple(_checked(body.tools, nested=nested))
    parameters: dict[str, Any] = {}
    if (name := _forced(body.tool_choice, definitions or (), nested=nested)) is not None:
        parameters["tool_choice"] = {"name": name}
    if body.parallel_tool_calls is False:
        parameters["parallel_tool_calls"] = False
    return ClientTools(definitions, parameters)


def _checked(tools: list[Any], *, nested: bool) -> list[dict[str, Any]]:
    flat = [_flat(tool, f"tools[{at}]", nested=nested) for at, tool in enumerate(tools[: client_tools.MOST_TOOLS + 1])]
    try:
        return client_tools.checked(flat)
    except InvalidRequest as error:
        message, param = str(error), error.param or "tools"
        if nested:
            message, param = (re.sub(r"(tools\[\d+\])\.", r"\1.function.", text, count=1) for text in (message, param))
        raise InvalidRequest(message, param=param, code=INVALID) from None


def _flat(tool: Any, path: str, *, nested: bool) -> dict[str, Any]:
    if not isinstance(tool, dict):
        refuse(path, "must be an object.", WRONG_TYPE)
    kind = tool.get("type")
    if kind is None:
        refuse(f"{path}.type", "is missing.", MISSING)
    if kind != "function":
        text = f"is {str(kind)[:50]!r}: only tools of the type 'function' are supported."
        refuse(f"{path}.type", text, _UNSUPPORTED)
    if not nested:
        return tool
    if not isinstance(tool.get("function"), dict):
        refuse(f"{path}.function", "must be an object.", WRONG_TYPE)
    return tool["function"] | {"type": kind}


def _forced(choice: Any, definitions: tuple[dict[str, Any], ...], *, nested: bool) -> str | None:
    """Return the tool that the model must call: its name, empty for any of them; None if that is its own choice."""
    if choice in (None, "auto"):
        return None
    if choice == "required":
        return ""
    if not isinstance(choice, dict):
        refuse("tool_choice", f"must be {', '.join(map(repr, _CHOICES))} or a function.")
    if choice.get("type") != "function":
        text = f"is {str(choice.get('type'))[:50]!r}: only functions are supported."
        refuse("tool_choice.type", text, _UNSUPPORTED)
    function = choice.get("function") if nested else choice
    name = function.get("name") if isinstance(function, dict) else None
    if name not in [tool["name"] for tool in definitions]:
        path = "tool_choice.function.name" if nested else "tool_choice.name"
        refuse(path, f"is {str(name)[:64]!r}, which is no function of 'tools'.")
    return str(name)

"""How the model is to answer a request: what counts instead of the agent's own parameters."""

import re
from typing import Any

import orjson

from agents_app.models import Agent
from chat_app.openai_api.fields import Fields, plain_text, refuse

EFFORTS = tuple(value for value, _ in Agent._meta.get_field("reasoning_effort").choices or ())
FORMATS = ("text", "json_object", "json_schema")
_NAME = r"[A-Za-z0-9_-]{1,64}"


def of_chat(body: Fields) -> dict[str, Any]:
    """As chat completions say it."""
    asked = body.object("response_format")
    kind = _kind(asked)
    return _said(
        body,
        max_tokens=body.count("max_completion_tokens") or body.count("max_tokens"),
        reasoning_effort=_effort(body, "reasoning_effort"),
        response_format=_format(kind, asked.object("json_schema") if kind == "json_schema" else asked),
    )


def of_response(body: Fields) -> dict[str, Any]:
    """As the Responses API says it."""
    asked = body.object("text").object("format")
    return _said(
        body,
        max_tokens=body.count("max_output_tokens"),
        reasoning_effort=_effort(body.object("reasoning"), "effort"),
        response_format=_format(_kind(asked), asked),
    )


def _said(body: Fields, **more: Any) -> dict[str, Any]:
    found = {
        "temperature": body.number("temperature", most=2),
        "top_p": body.number("top_p", most=1),
        "stop": body.texts("stop", most=4) or None,
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


def _effort(fields: Fields, name: str) -> str | None:
    """As an agent's own, and by the same rule."""
    effort = fields.get(name)
    if effort is not None and effort not in EFFORTS:
        refuse(fields.path(name), f"must be one of: {', '.join(EFFORTS)}.")
    return effort


def _kind(asked: Fields) -> str:
    if asked.is_empty:
        return "text"
    kind = asked.required("type")
    if kind not in FORMATS:
        refuse(asked.path("type"), f"must be one of: {', '.join(FORMATS)}.", "unsupported_value")
    return kind


def _format(kind: str, told: Fields) -> dict[str, Any] | None:
    """The form of the answer in the words of chat completions; None where any text will do."""
    if kind != "json_schema":
        return None if kind == "text" else {"type": kind}
    name = plain_text(told.required("name"), told.path("name"))
    if not re.fullmatch(_NAME, name):
        refuse(told.path("name"), "must be 1 to 64 of the characters A-Z a-z 0-9 _ -")
    told.object("schema")
    found = {
        "name": name,
        "description": told.text("description") or None,
        "schema": _kept(told, "schema"),
        "strict": told.flag("strict") if told.get("strict") is not None else None,
    }
    return {"type": kind, "json_schema": {name: value for name, value in found.items() if value is not None}}


def _kept(told: Fields, name: str) -> Any:
    """An object that can be kept, and told to others."""
    try:
        text = orjson.dumps(told.get(name))
    except orjson.JSONEncodeError:
        refuse(told.path(name), "is nested too deeply.")
    if b"\\u0000" in text:
        refuse(told.path(name), "must not contain NUL characters.")
    return told.get(name)

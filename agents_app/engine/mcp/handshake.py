"""What a server says of itself when a session begins."""

from typing import Any

import mcp_types as types
from pydantic import ValidationError

from agents_app.engine.spec import JSON


def conform(result: JSON) -> JSON:
    """Return the result of `initialize` without what breaks the rules: nothing but the version is needed."""
    conforming = {name: value for name, value in result.items() if name not in ("serverInfo", "instructions", "_meta")}
    conforming |= {"serverInfo": _server_info(result.get("serverInfo")), "capabilities": _capabilities(result)}
    if isinstance(result.get("instructions"), str):
        conforming["instructions"] = result["instructions"]
    if isinstance(result.get("_meta"), dict):
        conforming["_meta"] = result["_meta"]
    return conforming


def _server_info(info: Any) -> JSON:
    fields = info if isinstance(info, dict) else {"name": info}
    return {name: _text(fields.get(name)) for name in ("name", "version")}


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else ""


def _capabilities(result: JSON) -> JSON:
    capabilities = result.get("capabilities")
    try:
        types.ServerCapabilities.model_validate(capabilities, by_name=False)
    except ValidationError:
        return {}
    assert isinstance(capabilities, dict)
    return capabilities

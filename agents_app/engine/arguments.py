"""Read the arguments that a model writes for a call."""

import json
from typing import Any

from agents_app import exact_json


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Return the arguments of a call as an object, or None if the model wrote something else. Numbers stay exact."""
    if not text.strip():
        return {}
    try:
        value = exact_json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def arguments_problem(text: str) -> str:
    """Return why a call's arguments are no object, for the model."""
    try:
        value, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        value, end = None, 0
    if isinstance(value, dict) and text.lstrip()[end:].lstrip().startswith("{"):
        return "The arguments are more than one JSON object: make a call of its own for each."
    return "The arguments are not a JSON object: send one that fits the tool's schema."

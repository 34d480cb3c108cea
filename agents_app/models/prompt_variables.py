"""Variables of prompts, such as `{{current_date}}`: filled in with their values of the moment a run is accepted."""

import datetime
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from agents_app import clock

MOST = 100  # in one prompt: each may be as long as a session's metadata
_NAMES = ("current_date", "current_datetime", "current_user", "agent_name")
_METADATA = "metadata."
# Other text in double braces is no variable: prompts show JSON and templates.
_VARIABLE = re.compile(r"\{\{\s{0,8}(metadata\.[^{}\s][^{}]{0,63}?|[A-Za-z_][A-Za-z0-9_.-]{0,63})\s{0,8}\}\}")


def names_in(prompt: str) -> tuple[str, ...]:
    """Return the names of the prompt's variables, each once."""
    return tuple(dict.fromkeys(name for name in _VARIABLE.findall(prompt) if _exists(name)))


def validate_prompt(prompt: str) -> None:
    """Reject unknown variables, and more than MOST."""
    names = _VARIABLE.findall(prompt)
    if unknown := next((name for name in names if not _exists(name)), None):
        existing = ", ".join(f"{{{{{name}}}}}" for name in (*_NAMES, "metadata.KEY"))
        raise ValidationError(f"There is no variable {{{{{unknown}}}}}. There are: {existing}.")
    if len(names) > MOST:
        raise ValidationError(f"Use at most {MOST} variables.")


def values(names: Iterable[str], *, user: Any, agent_name: str, metadata: Mapping[str, str]) -> dict[str, str] | None:
    """Return the present values of these variables; None if there are none. Metadata that is not set is empty."""
    if not names:
        return None
    now = clock.now().astimezone(datetime.UTC)
    present = {
        "current_date": f"{now:%Y-%m-%d}",
        "current_datetime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "current_user": user.get_username(),
        "agent_name": agent_name,
    }
    return {
        name: metadata.get(name.removeprefix(_METADATA), "") if name.startswith(_METADATA) else present[name]
        for name in names
    }


def fill(prompt: str, variables: Mapping[str, str]) -> str:
    """Return the prompt with these values in the place of the variables. What the values contain stays as it is."""
    return _VARIABLE.sub(lambda match: variables.get(match[1], match[0]), prompt)


def _exists(name: str) -> bool:
    return name in _NAMES or name.startswith(_METADATA)

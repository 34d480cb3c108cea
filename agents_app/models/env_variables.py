"""Texts with ${VARIABLES}: expand them for use, and mask values that may be secret for display."""

import os
import re
from collections.abc import Mapping

from django.core.exceptions import ValidationError

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_ONLY_VARIABLES = re.compile(rf"(?:{VARIABLE.pattern})+")
MASK = "***"


class UndefinedVariable(Exception):
    """A `${VAR}` without a default names a variable that the server's environment lacks."""


def expand(text: str) -> str:
    """Return the text with `${VAR}` and `${VAR:-default}` replaced from this process's environment.

    As in a shell, the default also replaces an empty variable.

    Raises:
        UndefinedVariable: the text names it.
    """

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        value = os.environ.get(name, "")
        if value or (default is None and name in os.environ):
            return value
        if default is None:
            raise UndefinedVariable(f"The environment variable {name} is not set.")
        return default

    return VARIABLE.sub(replace, text)


def masked(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values for display: a value of variables only as it is, every other as MASK."""
    return {key: value if _ONLY_VARIABLES.fullmatch(value) else MASK for key, value in values.items()}


def unmasked(values: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, str]:
    """Return the values with each MASK replaced by the stored value of its key.

    Raises:
        ValidationError: none is stored.
    """
    if missing := [key for key, value in values.items() if value == MASK and key not in stored]:
        raise ValidationError(f"{MASK} keeps the stored value, but none is stored under {missing[0][:100]!r}.")
    return {key: stored[key] if value == MASK else value for key, value in values.items()}

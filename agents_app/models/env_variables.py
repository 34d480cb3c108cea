"""Texts that name environment variables: filled in where they are used, and shown without what may be secret."""

import os
import re
from collections.abc import Mapping

from django.core.exceptions import ValidationError

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_ONLY_VARIABLES = re.compile(rf"(?:{VARIABLE.pattern})+")
MASK = "***"


class UndefinedVariable(Exception):
    """A `${VAR}` without a default names a variable that the server's environment does not have."""


def expand(text: str) -> str:
    """The text with `${VAR}` and `${VAR:-default}` replaced from this process's environment.

    As in a shell, the default also stands in for a variable that is empty.

    Raises:
        UndefinedVariable: the text names it.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name, "")
        if found or (default is None and name in os.environ):
            return found
        if default is None:
            raise UndefinedVariable(f"The environment variable {name} is not set.")
        return default

    return VARIABLE.sub(value, text)


def masked(values: Mapping[str, str]) -> dict[str, str]:
    """What may be shown of values that may be secret: one that is nothing but variables; for the others, MASK."""
    return {key: value if _ONLY_VARIABLES.fullmatch(value) else MASK for key, value in values.items()}


def unmasked(values: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, str]:
    """The values, with what is stored under the key in the place of each MASK.

    Raises:
        ValidationError: nothing is.
    """
    if missing := [key for key, value in values.items() if value == MASK and key not in stored]:
        raise ValidationError(f"{MASK} keeps the stored value, and none is stored under {missing[0][:100]!r}.")
    return {key: stored[key] if value == MASK else value for key, value in values.items()}

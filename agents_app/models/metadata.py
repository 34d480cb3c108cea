"""Metadata of sessions: a few texts that their owners set, for prompts and for themselves."""

from typing import Any

from django.core.exceptions import ValidationError

MOST, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512  # OpenAI's limits


def validate_metadata(value: Any) -> None:
    """Reject what is not an object of a few short texts."""
    if not isinstance(value, dict):
        raise ValidationError("Enter an object of strings.")
    if len(value) > MOST:
        raise ValidationError(f"Enter at most {MOST} entries.")
    for key, text in value.items():
        if not isinstance(key, str) or not 1 <= len(key) <= LONGEST_KEY:
            raise ValidationError(f"Enter keys of 1 to {LONGEST_KEY} characters.")
        if not isinstance(text, str) or len(text) > LONGEST_VALUE:
            raise ValidationError(f"Enter a string of at most {LONGEST_VALUE} characters for {key!r}.")
        if "\x00" in key or "\x00" in text:
            raise ValidationError("Enter no NUL characters.")

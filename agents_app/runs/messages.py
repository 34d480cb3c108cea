"""The rule for messages. Every endpoint that takes one applies this rule and no other."""

from django.conf import settings

from agents_app.exceptions import InvalidRequest

LONGEST_MESSAGE_ID = 128
TOO_LONG = "message_too_long"


def validate_message(message: str, *, param: str = "message", has_files: bool = False) -> str:
    """Return the message if a run can start with it. `param` is what the caller calls the field.

    `has_files`: files come with it, so that it needs no text.

    Raises:
        InvalidRequest: it is empty, too long (code `TOO_LONG`) or has a NUL character.
    """
    if not message.strip() and not has_files:
        raise InvalidRequest(f"'{param}' must not be empty.", param=param)
    if is_too_long(message):
        raise InvalidRequest(f"'{param}' {too_long()}", param=param, code=TOO_LONG)
    if "\x00" in message:
        raise InvalidRequest(f"'{param}' must not contain NUL characters.", param=param)
    return message


def is_too_long(message: str) -> bool:
    return len(message) > settings.MAX_MESSAGE_CHARACTERS


def too_long() -> str:
    """Return the end of the sentence about a message that is too long."""
    return (
        f"is longer than {settings.MAX_MESSAGE_CHARACTERS:,} characters, the server's limit (MAX_MESSAGE_CHARACTERS)."
    )

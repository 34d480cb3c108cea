"""The rule for messages. Every endpoint that takes one applies this rule and no other."""

from agents_app.exceptions import InvalidRequest

LONGEST_MESSAGE = 100_000
LONGEST_MESSAGE_ID = 128
TOO_LONG = "message_too_long"


def validate_message(message: str, *, param: str = "message") -> str:
    """Return the message if a run can start with it. `param` is what the caller calls the field.

    Raises:
        InvalidRequest: it is empty, too long (code `TOO_LONG`) or has a NUL character.
    """
    if not message.strip():
        raise InvalidRequest(f"'{param}' must not be empty.", param=param)
    if len(message) > LONGEST_MESSAGE:
        raise InvalidRequest(f"'{param}' is longer than {LONGEST_MESSAGE:,} characters.", param=param, code=TOO_LONG)
    if "\x00" in message:
        raise InvalidRequest(f"'{param}' must not contain NUL characters.", param=param)
    return message

"""Parse a server's messages."""

import json

import mcp_types as types
from pydantic import ValidationError


def parse_message(text: bytes | str) -> types.JSONRPCMessage:
    """Parse one message. A response that breaks the protocol becomes an error response, so that no caller waits for it.

    Raises:
        ValueError: it is not a message.
    """
    try:
        return types.jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError:
        return _repair(text)


def _repair(text: bytes | str) -> types.JSONRPCMessage:
    """Servers in JavaScript send halves of surrogate pairs if they cut a text, and strict parsers refuse them."""
    try:
        message = json.loads(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)
        valid = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
        return types.jsonrpc_message_adapter.validate_json(valid, by_name=False)
    except RecursionError:
        raise ValueError("too deep") from None
    except ValidationError:
        if isinstance(message, dict) and isinstance(message.get("id"), int) and "method" not in message:
            error = types.ErrorData(code=types.INTERNAL_ERROR, message="The answer breaks the rules of the protocol.")
            return types.JSONRPCError(jsonrpc="2.0", id=message["id"], error=error)
        raise

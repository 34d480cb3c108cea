"""What a server says, as messages of the protocol."""

import json

import mcp_types as types
from pydantic import ValidationError


def message(text: bytes | str) -> types.JSONRPCMessage:
    """One message. An answer that breaks the rules is an error in its place, so that nobody waits for it.

    Raises:
        ValueError: it is none.
    """
    try:
        return types.jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError:
        return _mended(text)


def _mended(text: bytes | str) -> types.JSONRPCMessage:
    """Servers in JavaScript send halves of surrogate pairs, where they cut a text, which strict parsers refuse."""
    try:
        said = json.loads(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)
        again = json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")
        return types.jsonrpc_message_adapter.validate_json(again, by_name=False)
    except RecursionError:
        raise ValueError("too deep") from None
    except ValidationError:
        if isinstance(said, dict) and isinstance(said.get("id"), int) and "method" not in said:
            error = types.ErrorData(code=types.INTERNAL_ERROR, message="The answer breaks the rules of the protocol.")
            return types.JSONRPCError(jsonrpc="2.0", id=said["id"], error=error)
        raise

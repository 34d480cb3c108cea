"""Parse a server's messages."""

import codecs
import json
from typing import Any

import mcp_types as types
import orjson
from pydantic import ValidationError

from agents_app.engine.mcp.transports.base import BROKEN, NO_ANSWER, OWN_CODES

_MARK = "\ufeff"


def parse_message(text: bytes | str) -> types.JSONRPCMessage:
    """Parse one message. A response that breaks the protocol becomes an error response, so that no caller waits for it.

    Raises:
        ValueError: it is not a message.
    """
    text = text.removeprefix(codecs.BOM_UTF8) if isinstance(text, bytes) else text.removeprefix(_MARK)
    try:
        return _validate(text)
    except ValidationError:
        return _repair(text)


def _validate(text: bytes | str) -> types.JSONRPCMessage:
    message = types.jsonrpc_message_adapter.validate_json(text, by_name=False)
    if isinstance(message, types.JSONRPCError) and message.error.code in OWN_CODES:
        message.error.code = types.INTERNAL_ERROR  # no server may say what our transports say with it
    return message


def is_proper(text: str) -> bool:
    """Whether the text is a message that needs no repair; a cheap test that most messages pass."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return False
    if "method" in message:
        return isinstance(message["method"], str)
    return isinstance(message.get("result"), dict) and isinstance(message.get("id"), int | str)


def is_json(text: bytes | str) -> bool:
    """Whether the text is a JSON object or array."""
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _repair(text: bytes | str) -> types.JSONRPCMessage:
    try:
        # Servers in JavaScript send halves of surrogate pairs if they cut a text, and strict parsers refuse them.
        message = json.loads(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)
        valid = json.dumps(_conform(message), ensure_ascii=False).encode("utf-8", "replace")
        return _validate(valid)
    except RecursionError:
        raise ValueError("too deep") from None
    except ValidationError:
        if isinstance(message, dict) and isinstance(message.get("id"), int | str) and "method" not in message:
            error = types.ErrorData(code=BROKEN, message=NO_ANSWER)
            return types.JSONRPCError(jsonrpc="2.0", id=message["id"], error=error)
        raise


def _conform(message: Any) -> Any:
    """Return a response as JSON-RPC 2.0 has it, if what it means is clear."""
    if not isinstance(message, dict) or "method" in message:
        return message
    request_id, error = message.get("id"), message.get("error")
    if isinstance(request_id, float) and request_id.is_integer():
        request_id = int(request_id)
    if error is not None:
        return {"jsonrpc": "2.0", "id": request_id, "error": _conform_error(error)}
    if "result" not in message:
        return message
    result = message["result"]
    if not isinstance(result, dict):  # of a tool that returns what it made, without the frame around it
        result = {} if result is None else {"content": result}
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def _conform_error(error: Any) -> dict[str, Any]:
    fields = error if isinstance(error, dict) else {"message": error}
    code, text = fields.get("code"), fields.get("message")
    return {
        "code": code if isinstance(code, int) and not isinstance(code, bool) else types.INTERNAL_ERROR,
        "message": text if isinstance(text, str) else json.dumps(error, ensure_ascii=False),
    } | ({"data": fields["data"]} if "data" in fields else {})

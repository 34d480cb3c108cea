"""What a client of /mcp sends and takes: the SDK wants it said in one way."""

_JSON, _EVENTS = "application/json", "text/event-stream"
_JSON_RANGES = (_JSON, "application/*", "*/*")
_SENT_AS_JSON = ("", _JSON, "application/json-rpc", "application/jsonrequest")

Headers = list[tuple[bytes, bytes]]


def accepted(accept: str) -> str:
    """Return the media type to answer with; empty if the client takes neither JSON nor events.

    Events are for clients that name them: with a wildcard alone a client hardly knows what they are.
    """
    ranges = [_range(part) for part in accept.lower().split(",") if part.strip()] or ["*/*"]
    if _EVENTS in ranges or ("text/*" in ranges and any(name in _JSON_RANGES for name in ranges)):
        return _EVENTS
    return _JSON if any(name in _JSON_RANGES for name in ranges) else ""


def is_json(content_type: str) -> bool:
    """Return whether a body of that type may be JSON; a body without one may be."""
    return content_type.partition(";")[0].strip().lower() in _SENT_AS_JSON


def as_expected(headers: Headers) -> Headers:
    """Return the headers of a request in the words that the SDK expects."""
    others = [(name, value) for name, value in headers if name.lower() not in (b"accept", b"content-type")]
    return [*others, (b"accept", f"{_JSON}, {_EVENTS}".encode()), (b"content-type", _JSON.encode())]


def _range(part: str) -> str:
    """Return the media range of a part of `Accept`; empty if it is refused."""
    name, *parameters = (piece.strip() for piece in part.split(";"))
    quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
    return "" if quality.strip("0.") == "" else name

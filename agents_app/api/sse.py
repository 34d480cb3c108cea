"""Server-sent events as bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

PING = b": ping\n\n"


def event(data: bytes, *, name: str = "", event_id: int | str | None = None) -> bytes:
    """Return one event. `data` is a single line, as JSON is."""
    head = b"" if event_id is None else b"id: %b\n" % str(event_id).encode()
    if name:
        head += b"event: %b\n" % name.encode()
    return b"%bdata: %b\n\n" % (head, data)

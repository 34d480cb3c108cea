"""Read the events of a server-sent event stream, or the JSON that comes in place of one. Pure: no I/O.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, and what servers make of
it: events without the blank line between them, an `error:` field (llama.cpp), a whole JSON body.
"""

import orjson

from agents_app.exceptions import ModelUnavailable

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_SIZE = 4 * 1024 * 1024  # bytes of one line, event or body


class ErrorEvent(bytes):
    """The data of an event that its server calls an error."""


class EventStream:
    """Extracts the data of events, the same however the bytes are split.

    Data that are not JSON, such as `[DONE]`, are returned as they are.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []  # lines of the event that is not finished
        self._size = 0  # of them, or of the body
        self._is_error = False
        self._body: list[bytes] | None = None  # JSON that comes in place of a stream
        self._has_begun = False
        self._after_cr = False
        self._has_events = False
        self._has_strange_lines = False
        self._is_between_events = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that `data` completes.

        Raises:
            ModelUnavailable: this is no event stream, or a line, event or body is too long.
        """
        is_usual = self._is_between_events and data.endswith(b"}\n\n") and data.startswith(b"data: {")
        if is_usual and data.count(b"\n") == 2 and b"\r" not in data:  # nearly every read is one event
            return [data[6:-2]]
        if not self._has_begun:
            data = self._begin(data)
        if self._body is not None:
            self._extend_body(data)
            return []
        if self._after_cr or b"\r" in data:
            data = self._unify_line_ends(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _MAX_SIZE:
            raise _bad_stream("The model's stream has a line that does not end.")
        events = self._read(lines) if self._has_begun else []
        self._is_between_events = self._has_begun and not (
            self._rest or self._data or self._is_error or self._after_cr or self._body is not None
        )
        return events

    def end(self) -> list[bytes]:
        """Return the data of the events that no blank line ended, or the body."""
        events = []
        if self._body is None:
            rest, self._rest = self._rest, b""
            events = self._read([rest, b""])
        if self._body is not None:
            events.append(b"".join(self._body))
        elif self._has_strange_lines and not self._has_events:
            raise _bad_stream("The model's server sent something that is not a stream.")
        return events

    def _begin(self, data: bytes) -> bytes:
        """Remove a byte-order mark, which may be cut."""
        data = self._rest + data
        self._rest = b""
        self._has_begun = len(data) >= 3 or not _BYTE_ORDER_MARK.startswith(data)
        return data.removeprefix(_BYTE_ORDER_MARK)

    def _unify_line_ends(self, data: bytes) -> bytes:
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r") or (self._after_cr and not data)
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for number, line in enumerate(lines, start=1):
            if line.startswith(b"data:"):
                self._add_data(line[5:].strip(), events)
            elif not line:
                self._finish_event(events)
            elif line.lstrip()[:1] in (b"{", b"["):
                if not _is_json(line):
                    self._finish_event(events)
                    self._body = []
                    self._extend_body(b"\n".join([line, *lines[number:], self._rest]))
                    self._rest = b""
                    break
                self._finish_event(events)
                events.append(line)
            else:
                self._on_field(line, events)
        self._has_events = self._has_events or bool(events)
        return events

    def _on_field(self, line: bytes, events: list[bytes]) -> None:
        name, _, value = line.partition(b":")
        if name == b"event":
            self._is_error = value.strip() == b"error"
        elif name == b"error":
            self._finish_event(events)
            self._is_error = True
            self._add_data(value.strip(), events)
        elif name not in (b"", b"id", b"retry", b"data"):
            if name.lstrip().startswith(b"<"):
                raise _bad_stream("The model's server sent something that is not a stream.")
            self._has_strange_lines = True

    def _add_data(self, line: bytes, events: list[bytes]) -> None:
        if len(self._data) == 1 and (self._data[0] == b"[DONE]" or _is_json(self._data[0])):
            is_error = self._is_error
            self._finish_event(events)  # its server leaves out the blank lines
            self._is_error = is_error
        self._data.append(line)
        self._grow(len(line))

    def _finish_event(self, events: list[bytes]) -> None:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        if data:
            events.append(ErrorEvent(data) if self._is_error else data)
        self._data, self._size, self._is_error = [], 0, False

    def _extend_body(self, data: bytes) -> None:
        assert self._body is not None
        self._body.append(data)
        self._grow(len(data))

    def _grow(self, size: int) -> None:
        self._size += size + 1
        if self._size > _MAX_SIZE:
            raise _bad_stream("The model's stream has an event that does not end.")


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _bad_stream(text: str) -> ModelUnavailable:
    return ModelUnavailable(text, code="model_bad_stream")

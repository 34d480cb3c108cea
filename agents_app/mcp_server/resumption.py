"""Resume points: where a client that lost the stream of a call continues, on any instance.

The SDK (2.3.0) offers no event store in its stateless mode, so we put ids into the bytes of the events that it sends.
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Self

from agents_app.models.sessions import SESSION_ID

RequestId = str | int

_RETRY = 2000  # milliseconds that a client waits before it comes back: the official ones do so twice
_EVENT = b"event: message"
_PROGRESS_NOTIFICATION = b'"notifications/progress"'
_PROGRESS = re.compile(rb'"progress":([0-9.]+)')
_PROGRESS_TEXT = re.compile(r"\d{1,15}(\.\d{1,6})?")


@dataclass(slots=True)
class ResumePoint:
    """A place in the stream of one call. A client that lost the stream sends the id of its last event.

    | bytes | meaning |
    |---|---|
    | `id: CALL~PROGRESS` CR LF | put before each event of the SDK |
    | CALL | URL-safe Base64 of the JSON array `[request_id, progress_token, chat_session]` |
    | PROGRESS | of the newest progress notification that was sent: up to 15 digits, "." and up to 6 digits |
    | `event: message` | begins each event of the SDK; other bytes pass unchanged |
    | `"progress":N` | in an event that has `"notifications/progress"`: the new PROGRESS |
    | `id:`, `retry:`, `data: `, each with CR LF, and CR LF | the first event, which has an id and no message |

    `chat_session` is the session of the run.
    """

    request_id: RequestId
    progress_token: RequestId | None
    chat_session: str
    progress: str = "0"

    def first_event(self) -> bytes:
        """Return an event without a message, so that a client has an id before anything can be lost."""
        return self._id_line() + f"retry: {_RETRY}\r\ndata: \r\n\r\n".encode()

    def number(self, data: bytes) -> bytes:
        """Return what the SDK sends with an id before it if it is an event; remember the progress that it reports."""
        if not data.startswith(_EVENT):
            return data
        if _PROGRESS_NOTIFICATION in data and (match := _PROGRESS.search(data)):
            self.progress = match[1].decode()
        return self._id_line() + data

    @classmethod
    def parse_id(cls, event_id: str) -> Self | None:
        """Return the point of an event's id; None if the id is not one of ours."""
        call, _, progress = event_id.partition("~")
        try:
            request_id, progress_token, chat_session = json.loads(base64.urlsafe_b64decode(call))
        except (ValueError, TypeError, RecursionError):
            return None
        if not isinstance(request_id, str | int) or not isinstance(progress_token, str | int | None):
            return None
        if not re.match(SESSION_ID, str(chat_session)) or not _PROGRESS_TEXT.fullmatch(progress):
            return None
        return cls(request_id, progress_token, chat_session, progress)

    def _id_line(self) -> bytes:
        call = json.dumps([self.request_id, self.progress_token, self.chat_session])
        return f"id: {base64.urlsafe_b64encode(call.encode()).decode()}~{self.progress}\r\n".encode()

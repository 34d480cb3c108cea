"""The ids of the current work, for logs and traces. They follow a task; `clean_context` takes them to a thread."""

import contextvars
import dataclasses
import re
import secrets
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of the current work; empty if there is none. `traceparent`: the span, as W3C writes it."""

    request_id: str = ""
    session_id: str = ""
    run_id: str = ""
    traceparent: str = ""


_NONE = Ids()
_current: contextvars.ContextVar[Ids] = contextvars.ContextVar("ids", default=_NONE)


def current() -> Ids:
    """Return the ids of this task or thread."""
    return _current.get()


def bind(**ids: str) -> None:
    """Set ids of this task from now on."""
    _current.set(dataclasses.replace(_current.get(), **ids))


def clean_context() -> contextvars.Context:
    """Return a context with the ids alone: for a thread, which must not inherit transactions and the like."""
    clean = contextvars.Context()
    if (ids := _current.get()) is not _NONE:
        clean.run(_current.set, ids)
    return clean


def traceparent(header: str) -> str:
    """Return the client's span; empty if its header does not name one."""
    return header if _TRACEPARENT.fullmatch(header) else ""


def request_id(header: str) -> str:
    """Return the id of a request: the client's own if it is valid, else a new one."""
    return header if _REQUEST_ID.fullmatch(header) else f"req_{secrets.token_hex(12)}"
